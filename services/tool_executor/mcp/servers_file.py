"""Reads the MCP file so that a fault is told by line and field."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from natscope.contracts.errors import SpecInvalid
from natscope.yaml_lines import below, repeated
from services.tool_executor.mcp.entries import AnyEntry, File

REMEDY = "see docs/how-to/use-mcp.md"
NO_KIND = "has neither `command` (a program) nor `url` (a server on the network)"


def read(path: Path) -> Mapping[str, AnyEntry]:
    """Return the servers of the file at `path`, by name; no file is no server.

    Raises:
        SpecInvalid: it is no YAML, says something twice, or does not fit; the message names line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SpecInvalid(f"{path} cannot be read: {error}") from error
    root = _composed(path, text)
    if (twice := repeated(root)) is not None:
        raise SpecInvalid(f"{path}:{twice.start_mark.line + 1}: {twice.value!r} is there twice", remedy=REMEDY)
    try:
        return File.model_validate(yaml.safe_load(text)).servers
    except ValidationError as error:
        raise SpecInvalid(f"{path}:{_told(error, root)}", remedy=REMEDY) from error


def _composed(path: Path, text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise SpecInvalid(f"{path}:{line}: {getattr(error, 'problem', None) or error}", remedy=REMEDY) from error


def _told(error: ValidationError, root: yaml.Node | None) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    line, field, node = 1, [], root
    for step in first["loc"]:
        found = below(node, step)
        if found is not None:
            line, node = found
            field.append(str(step))
        elif step == first["loc"][-1]:
            field.append(str(step))
    what = NO_KIND if first["type"] == "union_tag_not_found" else first["msg"].removeprefix("Value error, ")
    return f"{line}: {'.'.join(field) or 'file'}: {what}{more}"

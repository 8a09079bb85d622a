"""Reads the MCP file so that a fault is told by line and field."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from natscope.contracts.errors import SpecInvalid
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
    if root is not None and (repeated := _repeated(root)) is not None:
        raise SpecInvalid(f"{path}:{repeated.start_mark.line + 1}: {repeated.value!r} is there twice", remedy=REMEDY)
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
        below = _below(node, step)
        if below is not None:
            line, node = below
            field.append(str(step))
        elif step == first["loc"][-1]:
            field.append(str(step))
    what = NO_KIND if first["type"] == "union_tag_not_found" else first["msg"].removeprefix("Value error, ")
    return f"{line}: {'.'.join(field) or 'file'}: {what}{more}"


def _below(node: yaml.Node | None, step: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        pairs = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(step))
        return next(pairs, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _repeated(node: yaml.Node) -> yaml.Node | None:
    """Return the first key that stands twice in the same mapping: YAML's parser would keep the last one silently."""
    if isinstance(node, yaml.SequenceNode):
        return next((found for each in node.value if (found := _repeated(each))), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            return key
        seen.add(key.value)
        if found := _repeated(value):
            return found
    return None

"""Agent files: YAML, read so that a fault is told with its file, line and field."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from natscope.contracts.agent import AgentSpec
from natscope.contracts.contract import Contract
from natscope.contracts.errors import SpecInvalid
from natscope.yaml_lines import Place, line_of

REFERENCE = "see docs/how-to/declare-an-agent.md"


def read_all(place: Path) -> list[AgentSpec]:
    """Return the agents of a file, or of every `*.yaml` and `*.yml` in a folder, by file name.

    Raises:
        SpecInvalid: a file is wrong (see `read_file`), there is none, or two declare the same agent.
    """
    if not place.is_dir():
        return [read_file(place)]
    files = sorted(file for file in place.iterdir() if file.suffix in (".yaml", ".yml"))
    if not files:
        raise SpecInvalid(f"{place}: there is no agent file", remedy="an agent file ends in .yaml")
    found: dict[str, tuple[Path, AgentSpec]] = {}
    for file in files:
        spec = read_file(file)
        if spec.name in found:
            raise SpecInvalid(f"{file}: agent {spec.name!r} is declared in {found[spec.name][0]} too")
        found[spec.name] = (file, spec)
    return [spec for _, spec in found.values()]


def read_file(file: Path) -> AgentSpec:
    """Return the agent that `file` declares.

    Raises:
        SpecInvalid: it cannot be read, is no YAML, has a field that does not exist or is there twice, or a value that
            does not fit; the message names file, line and field.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecInvalid(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    root = _composed(text, file)
    if not isinstance(root, yaml.MappingNode):
        raise SpecInvalid(f"{file}:1: an agent file is a mapping of fields", remedy=REFERENCE)
    for line, field, fault in _strangers(root, AgentSpec, ()):
        raise SpecInvalid(f"{file}:{line}: {field}: {fault}", remedy=REFERENCE)
    try:
        spec = AgentSpec.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise _wrong_value(file, root, error) from error
    if spec.function is not None and spec.strategy != "custom":
        raise SpecInvalid(f"{file}:{line_of(root, ('function',))}: function: needs `strategy: custom`")
    return spec


def _composed(text: str, file: Path) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "no valid YAML"
        line = mark.line + 1 if mark else 1
        raise SpecInvalid(f"{file}:{line}: {problem}", remedy="check indentation and quotes there") from error


def _strangers(node: yaml.MappingNode, kind: type[Contract], place: Place) -> Iterator[tuple[int, str, str]]:
    """Give line, field and fault of every key of `node` that `kind` does not declare, or that is there twice."""
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        field = ".".join(map(str, (*place, name)))
        if name in seen:
            yield key.start_mark.line + 1, field, "is there twice"
        elif name not in kind.model_fields:
            yield key.start_mark.line + 1, field, f"there is no such field{_meant(name, kind)}"
        else:
            for inner, node, deeper in _within(kind.model_fields[name].annotation, value, (*place, name)):
                yield from _strangers(node, inner, deeper)
        seen.add(name)


def _within(annotation: Any, node: yaml.Node, place: Place) -> Iterator[tuple[type[Contract], yaml.MappingNode, Place]]:
    """Give each part of `node` that a type of ours describes: the node itself, or items of a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        if isinstance(node, yaml.MappingNode):
            yield annotation, node, place
        return
    inner = get_args(annotation)
    if get_origin(annotation) is list and isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _within(inner[0], item, (*place, number))
    elif get_origin(annotation) is dict and isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            yield from _within(inner[1], item, (*place, str(key.value)))
    else:
        for each in inner:
            yield from _within(each, node, place)


def _meant(name: str, kind: type[Contract]) -> str:
    close = difflib.get_close_matches(name, kind.model_fields, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(kind.model_fields)}"


def _wrong_value(file: Path, root: yaml.Node, error: ValidationError) -> SpecInvalid:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    field = ".".join(map(str, first["loc"])) or "file"
    message = first["msg"].removeprefix("Value error, ")
    return SpecInvalid(f"{file}:{line_of(root, first['loc'])}: {field}: {message}{more}")

"""Reads YAML so that a fault can be told by line and field."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.catalog import mistakes

M = TypeVar("M", bound=BaseModel)
Place = Sequence[int | str]


def read(path: Path, kind: type[M]) -> M:
    """Return the YAML file at `path` as a value of `kind`.

    Raises:
        SpecInvalid: it is not there, is no YAML, or does not fit; the message names line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecInvalid(f"{path} cannot be read: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SpecInvalid(f"{where}: {getattr(error, 'problem', None) or error}") from error
    if root is not None and (repeated := _repeated(root)):
        raise SpecInvalid(f"{path}:{repeated.start_mark.line + 1}: {repeated.value!r} is there twice")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise SpecInvalid(f"{path}:{_told(error, kind, root)}") from None


def wrong(path: Path, place: Place, what: str, *, remedy: str | None = None) -> SpecInvalid:
    """Return the error that names what is wrong at `place` in a file that was read before."""
    try:
        line = line_of(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), place)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        line = 1
    return SpecInvalid(f"{path}:{line}: {_named(place)}: {what}", remedy=remedy)


def _told(error: ValidationError, kind: type[BaseModel], root: yaml.Node | None) -> str:
    faults = error.errors(include_url=False, include_input=False)
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    said, words = mistakes.told(kind, first)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    place = _in_file(root, said, to_the_end=first["type"] in mistakes.ABSENT)
    return f"{line_of(root, place)}: {_named(place) or 'file'}: {words}{more}"


def _named(place: Place) -> str:
    return ".".join(map(str, place))


def _in_file(root: yaml.Node | None, place: Place, *, to_the_end: bool) -> Place:
    """Return the steps of `place` that the file has; with `to_the_end` also the last one."""
    steps: list[int | str] = []
    node = root
    for number, step in enumerate(place):
        node, found = _child(node, step)
        if found is not None or (to_the_end and number == len(place) - 1):
            steps.append(step)
    return steps


def line_of(root: yaml.Node | None, place: Place) -> int:
    """Return the line, from 1, of the deepest node on the way to `place` that is there."""
    line, node = 1, root
    for step in place:
        node, found = _child(node, step)
        line = found or line
    return line


def _child(node: yaml.Node | None, step: int | str) -> tuple[yaml.Node | None, int | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found = node.value[step]
        return found, found.start_mark.line + 1
    return node, None


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

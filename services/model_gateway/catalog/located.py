"""Reads YAML so that a fault can be told by line and field."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from natscope.contracts.errors import SpecInvalid
from natscope.yaml_lines import Place, below, line_of, repeated
from services.model_gateway.catalog import mistakes

M = TypeVar("M", bound=BaseModel)


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
    if twice := repeated(root):
        raise SpecInvalid(f"{path}:{twice.start_mark.line + 1}: {twice.value!r} is there twice")
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
        found = below(node, step)
        if found is not None:
            _, node = found
        if found is not None or (to_the_end and number == len(place) - 1):
            steps.append(step)
    return steps

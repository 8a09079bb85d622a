"""Brings a value that was read to the types its schema demands, where its text leaves no doubt.

"5" where only a number may be, "true" where only a boolean may be, JSON text where only an object or an array may be,
5 where only text may be, and null for something that may be left out. Nothing is rounded, wrapped, renamed or dropped.
"""

import copy
import re
from collections.abc import Iterator, Sequence

import jsonschema_rs
from pydantic import JsonValue
from pydantic_core import from_json

from services.model_gateway.repair.fit import Fit

_ROUNDS = 4
"""Text within text: each round opens one level."""
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?(?:[eE][-+]?\d{1,2})?\Z")
_WORDS: dict[str, tuple[str, JsonValue]] = {
    "true": ("boolean", True),
    "True": ("boolean", True),
    "false": ("boolean", False),
    "False": ("boolean", False),
    "null": ("null", None),
    "None": ("null", None),
}
Path = tuple[str | int, ...]


def coerced(value: JsonValue, fit: Fit) -> tuple[JsonValue, tuple[str, ...]] | None:
    """Return a value that fits, and the rules that made it so; None if the rules cannot."""
    now, rules = copy.deepcopy(value), dict[str, None]()
    for _ in range(_ROUNDS):
        changed = False
        for path, wanted in _misfits(fit, now).items():
            rule = _put_right(now, path, wanted)
            if rule is not None:
                rules[rule], changed = None, True
        if fit.holds(now):
            return now, tuple(rules)
        if not changed:
            return None
    return None


def _misfits(fit: Fit, value: JsonValue) -> dict[Path, set[str]]:
    """Return where a value has a type it may not have, and the types it may have there."""
    found: dict[Path, set[str]] = {}
    for error in fit.errors(value):
        for path, types in _types(error):
            found.setdefault(path, set()).update(types)
    return found


def _types(error: jsonschema_rs.ValidationError) -> Iterator[tuple[Path, Sequence[str]]]:
    path = tuple(error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Type(types=types):
            yield path, types
        case jsonschema_rs.ValidationErrorKind.AnyOf(context) | jsonschema_rs.ValidationErrorKind.OneOfNotValid(
            context
        ):
            for branch in context:
                for inner in branch:
                    yield from _types(inner)
        case _:
            yield path, ()


def _put_right(root: JsonValue, path: Path, wanted: set[str]) -> str | None:
    """Change the value at `path` in place and return the rule's name; None if no rule applies."""
    if not path:
        return None
    holder, last = _at(root, path[:-1]), path[-1]
    if isinstance(holder, dict) and isinstance(last, str) and last in holder:
        if holder[last] is None:
            del holder[last]
            return "null left out"
        found = _as_one_of(holder[last], wanted)
        if found:
            holder[last] = found[0]
            return "type"
    if isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        found = _as_one_of(holder[last], wanted)
        if found:
            holder[last] = found[0]
            return "type"
    return None


def _at(root: JsonValue, path: Path) -> JsonValue:
    for step in path:
        if isinstance(root, dict) and isinstance(step, str):
            root = root.get(step)
        elif isinstance(root, list) and isinstance(step, int) and step < len(root):
            root = root[step]
        else:
            return None
    return root


def _as_one_of(value: JsonValue, wanted: set[str]) -> tuple[JsonValue] | None:
    """Return `value` in a type that is wanted; None if it cannot be, or already is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (str(value),) if "string" in wanted else None
    if not isinstance(value, str) or "string" in wanted:
        return None
    text = value.strip()
    if wanted & {"integer", "number"} and _INTEGER.match(text):
        return (int(text),)
    if "number" in wanted and _NUMBER.match(text):
        return (float(text),)
    if text in _WORDS and _WORDS[text][0] in wanted:
        return (_WORDS[text][1],)
    return _opened(text, wanted)


def _opened(text: str, wanted: set[str]) -> tuple[JsonValue] | None:
    name = {"{": "object", "[": "array"}.get(text[:1], "")
    if name not in wanted:
        return None
    try:
        return (from_json(text, allow_inf_nan=False),)
    except ValueError:
        return None

"""Repairs by rule what a model wrote as JSON, and holds it to its schema. Nothing is asked again.

The text is parsed as it is; then read by exact rules, which refuse where there is more than one way to read it; then by
json-repair, where that loses nothing; what was read must fit the schema, after exact changes of type at most. Text that
ends in the middle of something is refused: it was cut.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import from_json

from services.model_gateway.repair.coerced import coerced
from services.model_gateway.repair.fit import Fit, fit_of
from services.model_gateway.repair.library import last_reading
from services.model_gateway.repair.strings import Unreadable
from services.model_gateway.repair.wrapping import Found, can_be_sent, found

LAYERS = 3
"""How often JSON may be written within a JSON string."""
_NAMES = ("name", "tool", "tool_name", "function", "function_name")
_HELD = frozenset({"arguments", "parameters", "args", "input", "kwargs"})
_BESIDE = frozenset({*_NAMES, "type", "id"})


def _refused(constant: str) -> JsonValue:
    raise ValueError(constant)


_LENIENT = json.JSONDecoder(strict=False, parse_constant=_refused)
_HUGE = re.compile(r"[eE]\+?\d{3}|\d{300}")
"""A number that may be over the largest."""
_ESCAPED = re.compile(r"\s*[{\[]\s*\\\"")


@dataclass(frozen=True, slots=True)
class Repaired:
    """A value that fits its schema."""

    value: JsonValue
    rules: tuple[str, ...] = ()
    """What was put right, in order; empty if the text was right as it was."""


class Unresolved(Exception):
    """No rule leads to a value that fits."""

    def __init__(self, why: str, *, rules: tuple[str, ...] = (), value: JsonValue = None) -> None:
        super().__init__(why)
        self.why = why
        """In words that the model can act on."""
        self.rules = rules
        self.value = value
        """What was read, if anything was; it does not fit."""


def repaired(text: str, schema: Mapping[str, JsonValue] | None, *, tool: str | None = None) -> Repaired:
    """Return a tool's arguments as `text` says them: an object, which fits `schema` if there is one.

    `tool` is the tool that is called: a wrapper that names it is taken off. No text at all means no arguments.

    Raises:
        Unresolved: it cannot be read in one way only, or does not fit.
        SchemaInvalid: `schema` is no JSON Schema.
    """
    fit = None if schema is None else fit_of(schema)
    if (value := _as_it_is(text)) is not None and (fit is None or fit.holds(value)):
        return Repaired(value)
    if not text.strip():
        return _settled(Found([{}], ()), fit, tool, objects=True)
    return _repaired(text, fit, tool, objects=True)


def _as_it_is(text: str) -> dict[str, JsonValue] | None:
    """Return the object that `text` plainly is, unless it may be a wrapper."""
    try:
        value: JsonValue = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):
        return None
    if not isinstance(value, dict) or not _HELD.isdisjoint(value) or "function" in value or _HUGE.search(text):
        return None
    return value


def repaired_output(text: str, schema: Mapping[str, JsonValue]) -> Repaired:
    """Return the structured answer that `text` holds: any JSON value that fits `schema`.

    Raises:
        Unresolved: it cannot be read in one way only, or does not fit.
        SchemaInvalid: `schema` is no JSON Schema.
    """
    return _repaired(text, fit_of(schema), None, objects=False)


def fitting(
    value: dict[str, JsonValue], schema: Mapping[str, JsonValue] | None, *, tool: str | None = None
) -> Repaired:
    """Return arguments that a provider gave as an object, brought to fit `schema`.

    Raises:
        Unresolved: they do not fit.
        SchemaInvalid: `schema` is no JSON Schema.
    """
    return _settled(Found([value], ()), None if schema is None else fit_of(schema), tool, objects=True)


def _repaired(text: str, fit: Fit | None, tool: str | None, *, objects: bool) -> Repaired:
    try:
        return _settled(_read(text, fit, objects=objects), fit, tool, objects=objects)
    except Unreadable as error:
        if fit is None or error.final:
            raise Unresolved(f"it is not valid JSON: {error}") from None
        why = f"it is not valid JSON: {error}"
    try:
        value = last_reading(text)
    except Unreadable as error:
        raise Unresolved(f"{why}; {error}") from None
    return _settled(Found([value], ("json-repair",)), fit, tool, objects=objects)


def _read(text: str, fit: Fit | None, *, objects: bool) -> Found:
    """Parse, and read by rule what does not parse; JSON in a JSON string is opened."""
    rules: tuple[str, ...] = ()
    for _ in range(LAYERS + 1):
        value, rule = _parsed(text)
        if rule is None:
            return _joined(rules, found(text, brackets="{" if objects else "{["))
        rules += (rule,) if rule else ()
        if not isinstance(value, str) or (not objects and fit is not None and fit.holds(value)):
            return Found([value], rules)
        rules += ("double encoding",)
        text = value
    raise Unreadable(f"JSON in strings in strings, over {LAYERS} deep")


def _parsed(text: str) -> tuple[JsonValue, str | None]:
    """Return what `text` says as JSON, and the rule it took; None for the rule if it is no JSON."""
    try:
        value: JsonValue = from_json(text, allow_inf_nan=False)
    except ValueError:
        pass
    except TypeError:
        raise Unreadable("half a surrogate pair", final=True) from None
    else:
        return (None, None) if _HUGE.search(text) and not can_be_sent(value) else (value, "")
    if _ESCAPED.match(text):
        text, rule = f'"{text}"', "escaped quotes"
    else:
        rule = "line break in a string"
    try:
        value = _LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None, None
    return (value, rule) if can_be_sent(value) else (None, None)


def _joined(rules: tuple[str, ...], what: Found) -> Found:
    return Found(what.values, (*rules, *what.rules))


def _settled(what: Found, fit: Fit | None, tool: str | None, *, objects: bool) -> Repaired:
    """Choose among what was read the one value that fits.

    Raises:
        Unresolved: none does, or more than one.
    """
    fits = [done for value in what.values if (done := _fitted(value, fit, tool, objects=objects)) is not None]
    fits = [done for done in fits if not done.rules] or fits
    if len(fits) == 1:
        return Repaired(fits[0].value, (*dict.fromkeys((*what.rules, *fits[0].rules)),))
    value = what.values[0]
    if fits:
        raise Unresolved(f"it says {len(fits)} different things, one after the other", rules=what.rules, value=value)
    if objects and not isinstance(value, dict):
        raise Unresolved(f"it must be one JSON object, not {_kind(value)}", rules=what.rules, value=value)
    why = fit.why_not(value) if fit is not None else "it cannot be read"
    raise Unresolved(f"it does not fit the schema: {why}", rules=what.rules, value=value)


def _fitted(value: JsonValue, fit: Fit | None, tool: str | None, *, objects: bool) -> Repaired | None:
    forms = [form for form in _forms(value, fit, tool, objects=objects) if not objects or isinstance(form.value, dict)]
    if fit is None:
        return forms[0] if forms else None
    for form in forms:
        if fit.holds(form.value):
            return form
    for form in forms:
        changed = coerced(form.value, fit)
        if changed is not None:
            return Repaired(changed[0], (*form.rules, *changed[1]))
    return None


def _forms(value: JsonValue, fit: Fit | None, tool: str | None, *, objects: bool) -> Iterator[Repaired]:
    """Give the value and what it may be a wrapper of, the likelier first."""
    if isinstance(value, list) and len(value) == 1 and (objects or fit is not None):
        if not objects:
            yield Repaired(value)
        yield Repaired(value[0], ("list around it",))
        return
    inner, named = _held(value, tool) if objects and isinstance(value, dict) else (None, False)
    if inner is None or not isinstance(value, dict):
        yield Repaired(value)
        return
    foreign = fit is not None and fit.properties and not fit.properties & value.keys()
    wrapped = Repaired(inner, ("wrapper",))
    yield from (wrapped, Repaired(value)) if foreign or (fit is None and named) else (Repaired(value), wrapped)


def _held(value: dict[str, JsonValue], tool: str | None) -> tuple[dict[str, JsonValue] | None, bool]:
    """Return the arguments in `{name, arguments}`, and whether the name is the tool's."""
    for key in _HELD & value.keys():
        if value.keys() - {key} <= _BESIDE:
            inner = value[key]
            if isinstance(inner, str):
                inner = _parsed(inner)[0]
            named = tool is not None and any(value.get(name) == tool for name in _NAMES)
            return (inner, named) if isinstance(inner, dict) else (None, False)
    call = value.get("function")
    return _held(call, tool) if isinstance(call, dict) and value.keys() <= _BESIDE else (None, False)


def _kind(value: JsonValue) -> str:
    return "null" if value is None else {"str": "a string", "list": "an array"}.get(type(value).__name__, "a number")

"""Lowers a JSON Schema to what OpenAI's strict mode understands, where that loses nothing that cannot be checked.

Source: https://platform.openai.com/docs/guides/structured-outputs, section "Supported schemas".
"""

from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import from_json, to_json

Json = dict[str, JsonValue]

_KEPT = frozenset(
    {
        "type", "title", "description", "enum", "const", "pattern", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
    }
)  # fmt: skip
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)  # fmt: skip
_DEFINITIONS = ("$defs", "definitions")
_WRAP = "value"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A schema for structured output."""

    schema: Json
    strict: bool
    """The provider can be made to hold to it."""
    wrapped: bool
    """What was asked for is no object: it comes as the only property of one; see `unwrapped`."""


def lowered(schema: Json) -> Lowered:
    """Return the schema that is sent for an answer that must fit `schema`.

    What may be left out may be null instead: strict mode leaves nothing out. Repair takes such nulls away again.
    """
    wrapped = schema.get("type") != "object" or any(name in schema for name in ("anyOf", "oneOf", "$ref"))
    root = _wrap(schema) if wrapped else schema
    narrow = strict(root, nulls=True)
    return Lowered(root if narrow is None else narrow, narrow is not None, wrapped)


def unwrapped(text: str) -> str:
    """Return the JSON text of what is wrapped in `text`; a text that wraps nothing as it is."""
    try:
        value: JsonValue = from_json(text)
    except ValueError:
        return text
    if isinstance(value, dict) and list(value) == [_WRAP]:
        return to_json(value[_WRAP]).decode()
    return text


def strict(schema: Json, *, nulls: bool = False) -> Json | None:
    """Return `schema` for strict mode, None if strict mode could not give every answer that fits it.

    With `nulls` null may stand for what is left out; else a schema by which anything may be left out is not for it.

    Keywords that only narrow it further and are not understood are left out; the answer is held to them afterwards.
    """
    try:
        return _node(schema, nulls)
    except _Inexpressible:
        return None


class _Inexpressible(Exception):
    """A value that fits cannot be had in strict mode."""


def _wrap(schema: Json) -> Json:
    inner = {name: value for name, value in schema.items() if name not in _DEFINITIONS and name != "$schema"}
    shared = {name: schema[name] for name in _DEFINITIONS if name in schema}
    return {
        "type": "object",
        "properties": {_WRAP: inner},
        "required": [_WRAP],
        "additionalProperties": False,
        **shared,
    }


def _node(schema: JsonValue, nulls: bool) -> Json:
    if not isinstance(schema, dict):
        raise _Inexpressible
    if isinstance(target := schema.get("$ref"), str):
        return {"$ref": target, **_definitions(schema, nulls)}
    kind = schema.get("type")
    out: Json = {name: value for name, value in schema.items() if name in _KEPT}
    if schema.get("format") in _FORMATS:
        out["format"] = schema["format"]
    if "(?" in str(out.get("pattern")):
        del out["pattern"]
    if any(name in schema for name in ("allOf", "prefixItems", "patternProperties")):
        raise _Inexpressible
    if isinstance(choices := schema.get("anyOf", schema.get("oneOf")), list):
        out["anyOf"] = [_node(each, nulls) for each in choices]
    elif kind is None and "enum" not in schema and "const" not in schema:
        raise _Inexpressible
    if _is(kind, "object"):
        out.update(_object(schema, nulls))
    if _is(kind, "array"):
        out["items"] = _node(schema.get("items"), nulls)
    return {**out, **_definitions(schema, nulls)}


def _object(schema: Json, nulls: bool) -> Json:
    fields, required = schema.get("properties"), schema.get("required")
    names = set(map(str, required)) if isinstance(required, list) else set[str]()
    if not isinstance(fields, dict) or schema.get("additionalProperties", False) is not False:
        raise _Inexpressible
    if not names <= set(fields) or not (nulls or set(fields) <= names):
        raise _Inexpressible
    nodes = {name: _node(value, nulls) for name, value in fields.items()}
    return {
        "properties": {name: node if name in names else _or_null(node) for name, node in nodes.items()},
        "required": list[JsonValue](fields),
        "additionalProperties": False,
    }


def _or_null(node: Json) -> Json:
    null: Json = {"type": "null"}
    if _is(node.get("type"), "null"):
        return node
    choices = node.get("anyOf")
    if isinstance(choices, list):
        return node if null in choices else {**node, "anyOf": [*choices, null]}
    return {"anyOf": [node, null]}


def _definitions(schema: Json, nulls: bool) -> Json:
    found = {name: value for name in _DEFINITIONS if isinstance(value := schema.get(name), dict)}
    return {name: {key: _node(each, nulls) for key, each in value.items()} for name, value in found.items()}


def _is(kind: JsonValue, name: str) -> bool:
    return kind == name or (isinstance(kind, list) and name in kind)

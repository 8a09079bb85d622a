"""Lowers a JSON Schema to the keywords that Gemini takes.

Source: https://ai.google.dev/api/generate-content#FIELDS.response_json_schema
"""

from collections.abc import Mapping

from pydantic import JsonValue

Json = dict[str, JsonValue]

_KEPT = frozenset({
    "type", "description", "enum", "minItems", "maxItems", "minimum", "maximum", "required", "$ref", "$anchor", "$id",
    "propertyOrdering", "nullable",
})  # fmt: skip
_FORMATS = ("date-time", "date", "time", "int32", "int64", "float", "double")


def lowered(schema: Mapping[str, JsonValue]) -> Json:
    """Return as much of `schema` as Gemini understands; an answer is held to all of it afterwards, by us."""
    out = {name: value for name, value in schema.items() if name in _KEPT}
    for name in ("properties", "$defs", "definitions"):
        if isinstance(named := schema.get(name), dict):
            out["$defs" if name == "definitions" else name] = {key: _each(value) for key, value in named.items()}
    if isinstance(schema.get("items"), dict):
        out["items"] = _each(schema["items"])
    if "additionalProperties" in schema:
        more = schema["additionalProperties"]
        out["additionalProperties"] = more if isinstance(more, bool) else _each(more)
    for name in ("prefixItems", "anyOf", "oneOf"):
        if isinstance(several := schema.get(name), list):
            out["anyOf" if name == "oneOf" else name] = [_each(value) for value in several]
    _closed_bounds(schema, out)
    _said_otherwise(schema, out)
    if isinstance(several := schema.get("allOf"), list):
        for value in several:
            _merge(out, _each(value))
    return out


def _each(value: JsonValue) -> Json:
    return lowered(value) if isinstance(value, dict) else {}


def _closed_bounds(schema: Mapping[str, JsonValue], out: Json) -> None:
    """Put bounds that exclude their value as bounds that include it: closest for whole numbers, wider for others."""
    step = 1 if schema.get("type") == "integer" else 0
    for open_, closed, sign in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        bound = schema.get(open_)
        if isinstance(bound, int | float) and not isinstance(bound, bool) and closed not in out:
            out[closed] = bound + sign * step


def _said_otherwise(schema: Mapping[str, JsonValue], out: Json) -> None:
    """Say in other words what has no keyword: one value as a list of one, the rest in the description."""
    if "const" in schema and "enum" not in out:
        out["enum"] = [schema["const"]]
    if schema.get("format") in _FORMATS:
        out["format"] = schema["format"]
    reference = out.get("$ref")
    if isinstance(reference, str):
        out["$ref"] = reference.replace("#/definitions/", "#/$defs/", 1)
    told = [f"{name}: {schema[name]}" for name in ("pattern", "minLength", "maxLength") if name in schema]
    if "format" in schema and "format" not in out:
        told.append(f"format: {schema['format']}")
    if told:
        out["description"] = " ".join(filter(None, [str(out.get("description") or ""), f"({'; '.join(told)})"]))


def _merge(out: Json, more: Json) -> None:
    for name, value in more.items():
        have = out.get(name)
        if isinstance(have, dict) and isinstance(value, dict):
            out[name] = {**have, **value}
        elif isinstance(have, list) and isinstance(value, list) and name == "required":
            out[name] = [*have, *(each for each in value if each not in have)]
        else:
            out.setdefault(name, value)

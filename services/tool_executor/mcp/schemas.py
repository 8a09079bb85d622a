"""Sorts out tools that are described wrongly: the SDK, and providers of models, refuse all because of one."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import cast

from pydantic import JsonValue

from services.tool_executor.mcp.speaking import Json

log = logging.getLogger(__name__)

DEPTH = 64
BYTES = 256 << 10
"""A longer one leaves a model no room for anything else."""


def sound(tools: list[JsonValue]) -> list[JsonValue]:
    """Return the tools of a server's answer that can be used; the others are logged."""
    return [tool for tool in tools if not _is_left_out(tool)]


def _is_left_out(tool: JsonValue) -> bool:
    name = tool.get("name") if isinstance(tool, dict) else None
    schema = tool.get("inputSchema") if isinstance(tool, dict) else None
    if not isinstance(tool, dict) or not isinstance(name, str) or not isinstance(schema, dict):
        fault: str | None = "it has no name or no schema"
    elif not isinstance(tool.get("description") or "", str):
        fault = "its description is no text"
    else:
        fault = fault_of(schema)
    if fault is not None:
        log.error("tool left out", extra={"tool": str(name)[:200], "reason": fault})
    return fault is not None


def fault_of(schema: Json) -> str | None:
    """Return what is wrong with a schema, in one line; None if it is one of an object's and needs no other."""
    if schema.get("type", "object") != "object":
        return "its arguments are no object"
    try:
        if len(json.dumps(schema)) > BYTES:
            return "its schema is over 256 KiB"
        return next(_faults(schema, schema, "", 0), None)
    except RecursionError:
        return "its schema is nested too deeply"


def _faults(schema: JsonValue, whole: Json, place: str, depth: int) -> Iterator[str]:
    """Give what is wrong with a schema and those in it. Source: JSON Schema 2020-12, Core and Validation; Draft 7."""
    if depth > DEPTH:
        yield "its schema is nested too deeply"
    elif isinstance(schema, dict):
        for key, value in schema.items():
            here = f"{place}/{key}"
            if not _KEYWORDS.get(key, _anything)(value):
                yield f"its schema is none: {key!r} at {here[:200]!r}"
            elif key == "$ref" and not _is_there(whole, str(value)):
                yield f"its schema refers to {str(value)[:200]!r}, which is not in it"
            for name, below in _below(key, value):
                yield from _faults(below, whole, f"{here}{name}", depth + 1)
    elif not isinstance(schema, bool):
        yield f"its schema is none: at {place[:200]!r}"


def _below(key: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if key in _MAPS and isinstance(value, dict):
        yield from ((f"/{name}", below) for name, below in value.items())
    elif key in (*_LISTS, "items") and isinstance(value, list):
        yield from ((f"/{number}", below) for number, below in enumerate(value))
    elif key in _SCHEMAS:
        yield "", value


def _anything(_: JsonValue) -> bool:
    return True


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str)


def _is_map(value: JsonValue) -> bool:
    return isinstance(value, dict)


def _is_list(value: JsonValue) -> bool:
    return isinstance(value, list)


def _is_some(value: JsonValue) -> bool:
    return isinstance(value, list) and bool(value)


def _are_texts(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: JsonValue) -> bool:
    return _is_number(value) and value == int(cast("float", value)) and cast("float", value) >= 0


def _is_pattern(value: JsonValue) -> bool:
    try:
        re.compile(str(value))
    except (re.error, OverflowError):
        return False
    return isinstance(value, str)


def _is_type(value: JsonValue) -> bool:
    wanted = value if isinstance(value, list) else [value]
    return bool(wanted) and all(isinstance(each, str) and each in _TYPES for each in wanted)


_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = (
    *("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_COUNTS = (
    *("maxContains", "maxItems", "maxLength", "maxProperties", "minContains", "minItems", "minLength", "minProperties"),
)
_NUMBERS = ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf")
_KEYWORDS: dict[str, Callable[[JsonValue], bool]] = {
    **dict.fromkeys(_MAPS, _is_map),
    **dict.fromkeys(_LISTS, _is_some),
    **dict.fromkeys(_COUNTS, _is_count),
    **dict.fromkeys(_NUMBERS, _is_number),
    **dict.fromkeys(("$ref", "$schema", "$id", "title", "description", "format"), _is_text),
    "enum": _is_list,
    "pattern": _is_pattern,
    "required": _are_texts,
    "type": _is_type,
}


def _is_there(schema: JsonValue, reference: str) -> bool:
    """Return whether a reference leads somewhere in the schema. Source: RFC 6901."""
    if reference == "#" or (reference.startswith("#") and not reference.startswith("#/")):
        return True
    if not reference.startswith("#/"):
        return False
    found = schema
    for step in reference[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return False
    return True

"""Lowers the schema of a structured answer to what the messages API holds a model to.

What the API cannot hold a model to but may tell it (limits, patterns, formats) moves into the description, as its own
package does. Where the shape itself cannot be said so, a tool is forced instead: its schema may say anything.
Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from dataclasses import dataclass

from pydantic import JsonValue

from natscope.contracts.model import Chat

Json = dict[str, JsonValue]

VALUE = "value"
"""The argument that holds an answer that is no object."""
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_UNHELD = frozenset(
    {"not", "if", "then", "else", "prefixItems", "patternProperties", "propertyNames", "dependentSchemas",
     "dependentRequired", "contains", "additionalItems", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef"}
)  # fmt: skip
_PASSED_OVER = frozenset(
    {"$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "properties", "required", "additionalProperties"}
)
_DEEPEST = 32
_LARGEST = 2000
"""Schemas within the schema."""


@dataclass(frozen=True, slots=True)
class AnswerTool:
    """A tool that is no tool: its arguments are the answer."""

    name: str
    wrapped: bool
    """The answer is the argument `VALUE`."""


def answer_tool(ask: Chat, *, native: bool) -> AnswerTool | None:
    """Return the tool that takes the answer; None if there is no need of one."""
    if ask.output is None or (native and lowered(ask.output.json_schema) is not None):
        return None
    wanted, taken = ask.output.name, {tool.name for tool in ask.tools}
    free = (name for name in (wanted, *(f"{wanted[:58]}_{n}" for n in range(len(taken) + 1))) if name not in taken)
    return AnswerTool(next(free), wrapped=ask.output.json_schema.get("type") != "object")


def lowered(schema: Json) -> Json | None:
    """Return the schema of an object as the API takes it; None if that would change what it says of the shape."""
    try:
        found = _Lowering(schema).lower(schema, 0)
    except _CannotHold:
        return None
    return found if found.get("type") == "object" else None


class _CannotHold(Exception):
    """The schema says something about the shape that the API does not know."""


class _Lowering:
    def __init__(self, root: Json) -> None:
        self._root = root
        self._left = _LARGEST

    def lower(self, schema: JsonValue, depth: int) -> Json:
        """References are written out, so that one to itself shows as too deep; the API takes no such schema."""
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._left < 0 or not _UNHELD.isdisjoint(schema):
            raise _CannotHold
        if isinstance(ref := schema.get("$ref"), str):
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return self.lower({**self._found(ref), **rest}, depth + 1)
        if "enum" in schema or "const" in schema:
            return self._literal(schema)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(each := schema.get(key), list) and each:
                return self._any(schema, key, each, depth)
        kind = schema.get("type")
        if isinstance(kind, list):
            rest = {key: value for key, value in schema.items() if key not in ("description", "title")}
            return self._any(schema, "type", [{**rest, "type": one} for one in kind], depth)
        return self._typed(schema, kind, depth)

    def _found(self, ref: str) -> Json:
        found: JsonValue = self._root
        for step in ref.removeprefix("#").strip("/").split("/") if ref != "#" else ():
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not ref.startswith("#") or not isinstance(found, dict):
            raise _CannotHold
        return found

    def _any(self, schema: Json, key: str, each: list[JsonValue], depth: int) -> Json:
        if key == "allOf" and len(each) > 1:
            raise _CannotHold
        if {"properties", "items"} & schema.keys() and key != "type":
            raise _CannotHold
        parts = [self.lower(one, depth + 1) for one in each]
        own = {name: value for name, value in schema.items() if key != "type" or name in ("title", "description")}
        about = _about(own, {key, "type"})
        return {**parts[0], **about} if len(parts) == 1 else {"anyOf": list[JsonValue](parts), **about}

    def _literal(self, schema: Json) -> Json:
        key = "enum" if "enum" in schema else "const"
        values = schema[key] if key == "enum" else [schema[key]]
        if not isinstance(values, list) or not values or any(isinstance(value, dict | list) for value in values):
            raise _CannotHold
        return {key: schema[key], **_about(schema, {"enum", "const", "type"})}

    def _typed(self, schema: Json, kind: JsonValue, depth: int) -> Json:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array" if "items" in schema:
                least = schema.get("minItems")
                held: Json = {"minItems": least} if least in (0, 1) else {}
                items = self.lower(schema["items"], depth + 1)
                return {"type": kind, "items": items, **held, **_about(schema, {"type", "items", *held})}
            case "string":
                form = schema.get("format")
                held = {"format": form} if isinstance(form, str) and form in _FORMATS else {}
                return {"type": kind, **held, **_about(schema, {"type", *held})}
            case "integer" | "number" | "boolean" | "null":
                return {"type": kind, **_about(schema, {"type"})}
            case _:
                raise _CannotHold

    def _object(self, schema: Json, depth: int) -> Json:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict) or isinstance(schema.get("additionalProperties"), dict):
            raise _CannotHold
        if not properties and schema.get("additionalProperties") is not False:
            raise _CannotHold
        out: Json = {"type": "object"}
        out["properties"] = {name: self.lower(each, depth + 1) for name, each in properties.items()}
        required = schema.get("required", [])
        if not isinstance(required, list) or any(name not in properties for name in required):
            raise _CannotHold
        if required:
            out["required"] = required
        return {**out, "additionalProperties": False, **_about(schema, {"type"})}


def _about(schema: Json, held: set[str]) -> Json:
    """Return title and description; what is not `held` by the schema is told in the latter."""
    unheld = {key: value for key, value in schema.items() if key not in held | _PASSED_OVER | {"title", "description"}}
    words = [str(schema["description"])] if schema.get("description") else []
    if unheld:
        words.append("{" + ", ".join(f"{key}: {value}" for key, value in unheld.items()) + "}")
    out: Json = {"title": schema["title"]} if isinstance(schema.get("title"), str) else {}
    return {**out, "description": "\n\n".join(words)} if words else out

"""Writes tools and schemas down the way models get to see them, for counting."""

import json
from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from natscope.contracts.tool import ToolSpec

Schema = Mapping[str, JsonValue]
DEEP = 12
"""Schemas that refer to themselves are followed so far."""
_SIMPLE = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


def as_json(value: JsonValue) -> str:
    """Return a schema as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def typescript(tool: ToolSpec) -> str:
    """Return a tool as OpenAI's models see it: a TypeScript type, descriptions as comments.

    Source: https://github.com/openai/gpt-oss (harmony format), which chat completions follow.
    """
    parameters = cast("Schema", tool.parameters)
    definitions = _schema(parameters.get("$defs") or parameters.get("definitions"))
    head = "".join(f"// {line}\n" for line in tool.description.splitlines())
    if not parameters.get("properties"):
        return f"{head}type {tool.name} = () => any;\n"
    return f"{head}type {tool.name} = (_: {_type(parameters, definitions, 0)}) => any;\n"


def _type(schema: Schema, definitions: Schema, depth: int) -> str:
    if depth > DEEP:
        return "any"
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _type(_schema(definitions.get(reference.rpartition("/")[2])), definitions, depth + 1)
    if isinstance(found := schema.get("enum"), list):
        return " | ".join(json.dumps(each) for each in found)
    if "const" in schema:
        return json.dumps(schema["const"])
    either = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(either, list):
        return " | ".join(_type(_schema(each), definitions, depth + 1) for each in either)
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": each}, definitions, depth + 1) for each in kind)
    if kind == "array":
        return f"{_type(_schema(schema.get('items')), definitions, depth + 1)}[]"
    if schema.get("properties"):
        return _object(schema, definitions, depth)
    return _SIMPLE.get(str(kind), "object" if kind == "object" else "any")


def _object(schema: Schema, definitions: Schema, depth: int) -> str:
    needed = schema.get("required")
    needed = needed if isinstance(needed, list) else []
    lines = ["{"]
    for name, value in _schema(schema.get("properties")).items():
        member = _schema(value)
        if isinstance(told := member.get("description"), str):
            lines += [f"// {line}" for line in told.splitlines()]
        default = f" // default: {member['default']}" if member.get("default") is not None else ""
        optional = "" if name in needed else "?"
        lines.append(f"{name}{optional}: {_type(member, definitions, depth + 1)},{default}")
    return "\n".join([*lines, "}"])


def _schema(value: object) -> Schema:
    return cast("Schema", value) if isinstance(value, dict) else {}

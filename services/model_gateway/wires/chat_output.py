"""Decides how structured output and tool calls are asked for in a dialect, and how the answer is to be read then."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.model import Chat, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.dialects import Dialect, Json, OutputMode
from services.model_gateway.wires.strict import lowered

_MUST_CALL = "Answer by calling one of the tools, not with text."
_MUST_FIT = "Answer with a JSON value that fits this JSON Schema, and with nothing else: no words around it, no fence."
_TOOL_FIT = "Give the answer by calling this tool, once, when you have it."


@dataclass(frozen=True, slots=True)
class Plan:
    """What is added to a request, and what its answer holds because of it."""

    fields: Json = field(default_factory=dict[str, JsonValue])
    """`tools`, `tool_choice`, `response_format` and what they need."""
    instructions: tuple[str, ...] = ()
    """For the end of the system prompt."""
    answer_tool: str | None = None
    """A call of this tool is the answer."""
    wrapped: bool = False
    """The answer is the only property of an object."""


NOTHING = Plan()


@dataclass(frozen=True, slots=True)
class _Asked:
    """How structured output is asked for."""

    format: Json | None = None
    tool: ToolSpec | None = None
    instruction: str | None = None
    wrapped: bool = False


def plan(ask: Chat, dialect: Dialect) -> Plan:
    """Return how to ask for what `ask` wants."""
    if ask.output is None and not ask.tools:
        return NOTHING
    asked = _output(ask.output, ask, dialect) if ask.output is not None else _Asked()
    tools = [*ask.tools, asked.tool] if asked.tool is not None else ask.tools
    calm: Json = {}
    fields, instructions = _choice(tools, _wanted(ask, asked.tool), ask, dialect, calm)
    if asked.format is not None:
        fields["response_format"] = asked.format
        if "output" in dialect.thinking.forbids:
            calm.update(dialect.thinking.levels.get("off", {}))
    if asked.instruction is not None:
        instructions.append(asked.instruction)
    name = asked.tool.name if asked.tool is not None else None
    return Plan({**fields, **calm}, tuple(instructions), name, asked.wrapped)


def _output(output: Output, ask: Chat, dialect: Dialect) -> _Asked:
    schema = output.json_schema
    mode = _mode(ask, dialect)
    narrow = lowered(schema)
    if mode == "json_schema":
        strict = dialect.strict and narrow.strict
        sent = narrow.schema if dialect.strict or narrow.wrapped else schema
        inner: Json = {"name": output.name, "schema": sent, "strict": strict}
        if output.description:
            inner["description"] = output.description
        return _Asked({"type": "json_schema", "json_schema": inner}, wrapped=narrow.wrapped)
    if mode == "tool":
        told = output.description or _TOOL_FIT
        tool = ToolSpec(name=_free(output.name, ask), description=told, parameters=narrow.schema)
        return _Asked(tool=tool, wrapped=narrow.wrapped)
    if mode == "json_object":
        return _Asked({"type": "json_object"}, instruction=_fitting(narrow.schema), wrapped=narrow.wrapped)
    return _Asked(instruction=_fitting(schema))


def _mode(ask: Chat, dialect: Dialect) -> OutputMode:
    mode = (dialect.output_with_tools if ask.tools else None) or dialect.output
    thinks = ask.generation.thinking not in (None, "off")
    return "prompt" if thinks and "output" in dialect.thinking.forbids else mode


def _fitting(schema: Json) -> str:
    return f"{_MUST_FIT}\n{to_json(schema).decode()}"


def _free(name: str, ask: Chat) -> str:
    taken = {tool.name for tool in ask.tools}
    while name in taken:
        name += "_"
    return name


def _wanted(ask: Chat, answer: ToolSpec | None) -> str:
    if answer is None:
        return ask.tool_choice
    if not ask.tools or ask.tool_choice == "none":
        return answer.name
    return "required" if ask.tool_choice == "auto" else ask.tool_choice


def _choice(tools: Sequence[ToolSpec], wanted: str, ask: Chat, dialect: Dialect, calm: Json) -> tuple[Json, list[str]]:
    """Return the fields for the tools, and what must be said in words; `calm` gets what stops the model's thinking."""
    if not tools or (wanted == "none" and "none" not in dialect.tool_choices):
        return {}, []
    forced = wanted not in ("auto", "none")
    can_force = _can_force(wanted, ask, dialect)
    if forced and can_force and "forcing" in dialect.thinking.forbids:
        calm.update(dialect.thinking.levels.get("off", {}))
    if forced and wanted != "required" and not (can_force and "named" in dialect.tool_choices):
        tools = [tool for tool in tools if tool.name == wanted]
    fields: Json = {"tools": [_tool(tool) for tool in tools]}
    if wanted == "none":
        fields["tool_choice"] = "none"
    elif forced and can_force:
        named = wanted != "required" and "named" in dialect.tool_choices
        fields["tool_choice"] = _named(wanted) if named else dialect.required_word
    return fields, [_MUST_CALL] if forced and not can_force else []


def _can_force(wanted: str, ask: Chat, dialect: Dialect) -> bool:
    if ask.generation.thinking not in (None, "off") and "forcing" in dialect.thinking.forbids:
        return False
    return "required" in dialect.tool_choices or (wanted != "required" and "named" in dialect.tool_choices)


def _named(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def _tool(tool: ToolSpec) -> Json:
    function: Json = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}

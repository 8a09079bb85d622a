"""Writes a conversation as a request to Anthropic's messages API.

Always told is `max_tokens`: what the ask wants, but not more than the model can write where that is known, else
`MAX_TOKENS`. A talk that goes on (it has tools, or the model spoke before) is marked for the prompt cache twice: after
tools and system prompt, and at its end. The next ask then reads at a tenth of the price what this one wrote at 1.25
times of it; a single question is not marked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from natscope.contracts.blocks import ContentBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.model import Chat
from services.model_gateway.wires.messages_output import VALUE, AnswerTool, answer_tool, lowered
from services.model_gateway.wires.messages_thinking import BINDING_BETA, Family, effort, family, thinking
from services.model_gateway.wires.messages_turns import assistant, system, turns, word

Json = dict[str, JsonValue]

MAX_TOKENS = 16384
"""How much may be written, thoughts included, if neither ask nor models file says so; all can since Claude 4."""
LEAST_TO_GO_ON = 256
"""With fewer tokens than this a paused turn ends as one that was cut."""
OLD_VERSION = "2023-06-01"
_UNCACHED = ("thinking", "redacted_thinking")
_COMBINED = ("oneOf", "anyOf", "allOf")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an endpoint differs from Anthropic's own."""

    sampling: bool = False
    """Whether `temperature` and `top_p` are sent, under the old API version. The current version has neither, models
    since Claude Opus 4.7 know neither: https://platform.claude.com/docs/en/api/migration-2026-10-21"""
    native_output: bool = True
    """Whether `output_config.format` holds the answer to a schema (since Claude 4.5); else a tool is forced."""
    cache: bool = True
    """Whether the prompt cache is used."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and what has to be known to read the answer."""

    content: bytes
    headers: Mapping[str, str]
    """Besides those of every request."""
    answer: AnswerTool | None
    """The tool whose call is the answer."""


def request(
    ask: Chat, *, model: str, provider: str, dialect: Dialect, stream: bool, max_output_tokens: int | None = None
) -> Request:
    """Return the request. The same ask always gives the same bytes, and a longer talk begins like a shorter one."""
    out: Json = {"model": model, "max_tokens": _limit(ask, max_output_tokens)}
    if prompt := system(ask):
        out["system"] = list[JsonValue](prompt)
    talk = turns(ask, provider=provider)
    out["messages"] = list[JsonValue](talk)
    answer = answer_tool(ask, native=dialect.native_output)
    _add_tools(out, ask, answer, family(model))
    _add_options(out, ask, dialect, talk, family(model), native=answer is None)
    if dialect.cache and _goes_on(ask):
        _mark(out.get("system") or out.get("tools"))
        _mark(talk[-1]["content"])
    if stream:
        out["stream"] = True
    headers = {"anthropic-version": OLD_VERSION} if dialect.sampling else {}
    if "block_binding" in _object(out.get("thinking")):
        headers["anthropic-beta"] = BINDING_BETA
    return Request(to_json(out), headers, answer)


def continued(asked: Request, said: Sequence[ContentBlock], *, written: int, container: str = "") -> Request | None:
    """Return the request that lets the model go on with a turn that it paused after `said`, the same in all else.

    `written` tokens are no longer to be had; None if that leaves too few.
    Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools
    """
    out = _object(from_json(asked.content))
    limit, talk = out.get("max_tokens"), out.get("messages")
    left = limit - written if isinstance(limit, int) else 0
    thought = _object(out.get("thinking")).get("budget_tokens")
    if left <= max(LEAST_TO_GO_ON, thought if isinstance(thought, int) else 0) or not isinstance(talk, list):
        return None
    out["max_tokens"] = left
    out["messages"] = [*talk, assistant(said)]
    if container:
        out["container"] = container
    return Request(to_json(out), asked.headers, asked.answer)


def _limit(ask: Chat, most: int | None) -> int:
    wanted = ask.generation.max_output_tokens
    return min(wanted, most) if wanted and most else wanted or most or MAX_TOKENS


def _add_tools(out: Json, ask: Chat, answer: AnswerTool | None, kin: Family) -> None:
    tools = [_tool(tool.name, tool.description, tool.parameters) for tool in ask.tools]
    choice = _tool_choice(ask.tool_choice)
    if ask.output is not None and answer is not None:
        schema = ask.output.json_schema
        about = ask.output.description or "Gives the final answer, in the form that was asked for."
        tools.append(_tool(answer.name, about, _wrapped(schema) if answer.wrapped else schema))
        if not ask.tools or ask.tool_choice == "none":
            choice = _named(answer.name)
        elif ask.tool_choice == "auto":
            choice = _tool_choice("required")
    if not tools and (before := _tools_before(ask)):
        tools, choice = [_tool(name, "Not on offer any more.", {}) for name in before], _tool_choice("none")
    if not tools:
        return
    out["tools"] = list[JsonValue](tools)
    if _is_forced(choice) and kin.forced_tools == "no":
        _demand(out["messages"], choice, answer)
    elif choice["type"] != "auto":
        out["tool_choice"] = choice


def _add_options(out: Json, ask: Chat, dialect: Dialect, talk: list[Json], kin: Family, *, native: bool) -> None:
    level = ask.generation.thinking
    forced = _is_forced(_object(out.get("tool_choice")))
    limit = out["max_tokens"]
    most = limit if isinstance(limit, int) else MAX_TOKENS
    if thought := thinking(level, kin, forced=forced, max_tokens=most, turns=talk):
        out["thinking"] = thought
    config: Json = {"effort": asked} if (asked := effort(level, kin)) else {}
    if native and ask.output is not None:
        config["format"] = {"type": "json_schema", "schema": lowered(ask.output.json_schema)}
    if config:
        out["output_config"] = config
    if stop := [text for text in ask.generation.stop if text.strip()]:
        out["stop_sequences"] = list[JsonValue](stop)
    if dialect.sampling and "thinking" not in out:
        out.update(_sampling(ask))


def _sampling(ask: Chat) -> Iterator[tuple[str, JsonValue]]:
    """Only one of the two is sent, because models since Claude 4.1 refuse both; the scale ends at 1."""
    if ask.generation.temperature is not None:
        yield "temperature", min(1.0, ask.generation.temperature)
    elif ask.generation.top_p is not None:
        yield "top_p", ask.generation.top_p


def _tool(name: str, description: str, schema: Json) -> Json:
    """The API takes an object at the top of a schema and no combination of others; the gateway holds calls to all."""
    plain = {key: value for key, value in schema.items() if key not in _COMBINED}
    tool: Json = {"name": name, "input_schema": {**plain, "type": "object"}}
    return {**tool, "description": description} if description.strip() else tool


def _wrapped(schema: Json) -> Json:
    named = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return {"type": "object", "properties": {VALUE: schema}, "required": [VALUE], **named}


def _tool_choice(choice: str) -> Json:
    if choice in ("auto", "none"):
        return {"type": choice}
    return {"type": "any"} if choice == "required" else _named(choice)


def _named(tool: str) -> Json:
    return {"type": "tool", "name": tool}


def _is_forced(choice: Json) -> bool:
    return choice.get("type") in ("any", "tool")


def _demand(talk: JsonValue, choice: Json, answer: AnswerTool | None) -> None:
    """Demand a call in words, of a model that cannot be forced."""
    name = choice.get("name")
    words = f"Reply with a call of the tool {name}." if name else "Reply with a call of a tool."
    if answer is not None and name is None:
        words += f" When you have the final answer, give it with the tool {answer.name}."
    last = talk[-1] if isinstance(talk, list) and talk else None
    content = _object(last).get("content")
    if isinstance(content, list):
        content.append({"type": "text", "text": words})


def _tools_before(ask: Chat) -> list[str]:
    """Return the tools that were used so far: the API wants to know them though none is on offer now."""
    blocks = (block for message in ask.messages for block in message.content)
    return list(dict.fromkeys(word(b.name) for b in blocks if isinstance(b, ToolUseBlock | ToolResultBlock)))


def _goes_on(ask: Chat) -> bool:
    return bool(ask.tools) or any(message.role == "assistant" for message in ask.messages)


def _mark(parts: JsonValue) -> None:
    """Set a cache breakpoint at the last of `parts` that may have one."""
    for part in reversed(parts) if isinstance(parts, list) else ():
        if isinstance(part, dict) and part.get("type") not in _UNCACHED:
            part["cache_control"] = {"type": "ephemeral"}
            return


def _object(value: JsonValue) -> Json:
    return value if isinstance(value, dict) else {}

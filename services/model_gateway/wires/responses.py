"""Writes a conversation as a request of OpenAI's responses API.

Nothing is left with the provider (`store: false`): each request says all. The API knows neither seed nor stop words.
"""

import re
from collections.abc import Iterator

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Generation, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.responses_input import items
from services.model_gateway.wires.responses_items import Json
from services.model_gateway.wires.strict import lowered, strict

LEAST_OUTPUT_TOKENS = 16
"""The API refuses a smaller limit."""
_OWN = re.compile(r"openai|az(ure)?[._]ai[._]openai")
"""Names of those whose responses API is OpenAI's own."""
_REASONS = re.compile(r"(?:^|[/:])(?:o\d|gpt-[5-9]|gpt-\d\d|codex|computer-use)(?!.*-chat)")
_SAMPLES = re.compile(r"(?:^|[/:])gpt-5\.[12](?!.*(?:codex|pro))")
"""Models that reason only if they are told to; until then they take a temperature."""
_PHASED = re.compile(r"(?:^|[/:])gpt-(?:5\.[3-9]|[6-9]|\d\d)")


def body(ask: Chat, *, model: str, provider: str, stream: bool) -> bytes:
    """Return the request's body. The same ask always gives the same bytes."""
    instructions, talk = _apart(ask.messages)
    reasons = _REASONS.search(model) is not None
    written = items(
        talk,
        ask,
        provider=provider,
        phases=_PHASED.search(model) is not None,
        media_results=_OWN.fullmatch(provider) is not None,
    )
    out: Json = {"model": model}
    if instructions:
        out["instructions"] = instructions
    out["input"] = list(written)
    out["store"] = False
    if reasons:
        out["include"] = ["reasoning.encrypted_content"]
    if ask.tools:
        out["tools"] = [_tool(tool) for tool in ask.tools]
        if ask.tool_choice != "auto":
            out["tool_choice"] = _tool_choice(ask.tool_choice)
    if ask.output is not None:
        out["text"] = {"format": _format(ask.output)}
    out.update(_generation(ask.generation, samples=not reasons or _SAMPLES.search(model) is not None))
    if stream:
        out["stream"] = True
    return to_json(out)


def wraps(ask: Chat) -> bool:
    """Return whether the answer's text will be an object around the value that was asked for."""
    return ask.output is not None and lowered(ask.output.json_schema).wrapped


def _apart(messages: list[Message]) -> tuple[str, list[Message]]:
    """Return what the system says first, and the talk; with nothing else said that is the talk."""
    first = next((i for i, message in enumerate(messages) if message.role != "system"), 0)
    return "\n\n".join(text for message in messages[:first] if (text := message.text)), messages[first:]


def _tool(tool: ToolSpec) -> Json:
    narrow = strict(tool.parameters)
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters if narrow is None else narrow,
        "strict": narrow is not None,
    }


def _tool_choice(choice: str) -> JsonValue:
    return choice if choice in ("none", "required") else {"type": "function", "name": choice}


def _format(output: Output) -> Json:
    found = lowered(output.json_schema)
    told: Json = {"type": "json_schema", "name": output.name, "schema": found.schema, "strict": found.strict}
    return {**told, "description": output.description} if output.description else told


def _generation(generation: Generation, *, samples: bool) -> Iterator[tuple[str, JsonValue]]:
    limit = generation.max_output_tokens
    wanted: Json = {
        "temperature": generation.temperature if samples else None,
        "top_p": generation.top_p if samples else None,
        "max_output_tokens": None if limit is None else max(LEAST_OUTPUT_TOKENS, limit),
    }
    return ((name, value) for name, value in wanted.items() if value is not None)

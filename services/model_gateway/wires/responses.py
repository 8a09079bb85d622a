"""Writes a conversation as a request of OpenAI's responses API.

Nothing is left with the provider (`store: false`): each request says all. The API knows neither seed nor stop words.
"""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Generation, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.paired import paired
from services.model_gateway.wires.responses_input import Memory, items
from services.model_gateway.wires.responses_items import Json
from services.model_gateway.wires.responses_ways import Ways, ways
from services.model_gateway.wires.strict import lowered, strict

LEAST_OUTPUT_TOKENS = 16
"""The API refuses a smaller limit."""


def body(
    ask: Chat,
    *,
    model: str,
    provider: str,
    stream: bool,
    thoughts: bool = True,
    more: Mapping[str, JsonValue] | None = None,
) -> bytes:
    """Return the request's body with `more` laid over it. The same ask always gives the same bytes.

    Without `thoughts` the model is not reminded of what it thought before, nor of what it did with its own tools.
    """
    known = ways(model, provider)
    instructions, talk = _apart(ask.messages)
    written = items(
        paired(talk),
        ask,
        memory=Memory(
            thoughts=provider if thoughts and known.remembers else None,
            sealed_only=known.own,
            works=provider if thoughts else None,
        ),
        phases=known.phased,
        media_results=known.own,
    )
    out: Json = {"model": model}
    if instructions:
        out["instructions"] = instructions
    out["input"] = list(written)
    out["store"] = False
    if known.reasons:
        out["include"] = ["reasoning.encrypted_content"]
    if ask.tools:
        out["tools"] = [_tool(tool) for tool in ask.tools]
        if ask.tool_choice != "auto":
            out["tool_choice"] = _tool_choice(ask.tool_choice)
    if ask.output is not None:
        out["text"] = {"format": _format(ask.output)}
    out.update(_generation(ask.generation, known))
    if stream:
        out["stream"] = True
    return to_json(_laid_over(out, more) if more else out)


def _laid_over(below: Json, above: Mapping[str, JsonValue]) -> Json:
    out = dict(below)
    for name, value in above.items():
        under = out.get(name)
        out[name] = _laid_over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return out


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


def _generation(generation: Generation, known: Ways) -> Iterator[tuple[str, JsonValue]]:
    limit, effort = generation.max_output_tokens, known.effort(generation.thinking)
    samples = known.samples(generation.thinking)
    wanted: Json = {
        "temperature": generation.temperature if samples else None,
        "top_p": generation.top_p if samples else None,
        "max_output_tokens": None if limit is None else max(LEAST_OUTPUT_TOKENS, limit),
        "reasoning": {"effort": effort} if effort else None,
    }
    return ((name, value) for name, value in wanted.items() if value is not None)

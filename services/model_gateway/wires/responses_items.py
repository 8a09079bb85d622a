"""Reads the items of an OpenAI response, what each of them adds to a message, and its usage."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.blocks import ContentBlock
from natscope.contracts.model import Usage
from services.model_gateway.wires.responses_works import blocks_of

Json = dict[str, JsonValue]
Kind = Literal["text", "thinking", "tool_use", "whole"]
Spot = tuple[str, int]
"""Which part of its item: `("content", 0)`, `("summary", 1)`, `("call", 0)`, `("whole", 0)`."""

_MOST = 1 << 53
CALL: Spot = ("call", 0)
ASIDES = ("caller", "namespace")
"""What a call says of itself beside its name and arguments, and is to say again."""
PHASES = "phases"
"""In a message's metadata: of each of its texts, whether it was said on the way or is the last word."""
ID = "id"
TOLD = "told"
"""Of thinking, beside the id of its item: `summary`, or `content` if it is the thought itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes one block."""

    kind: Kind
    spot: Spot
    text: str = ""
    call_id: str = ""
    tool: str = ""
    id: str = ""
    """Of its item, which all thinking of that item shares."""
    sealed: str | None = None
    """The item's encrypted content; on the first part of its item."""
    phase: str = ""
    notes: tuple[Json, ...] = ()
    """What the text quotes."""
    refusal: bool = False
    aside: Json | None = None
    """A call's item, which may say more of it."""
    whole: ContentBlock | None = None
    """The block, where there is nothing to be written bit by bit."""


def parts_of(item: Json, provider: str) -> list[Part]:
    """Return what an item adds, in order.

    Work that the provider did with its own tools (searches, code, MCP), and whatever else it has to have back, is kept
    as it is; its pictures are parts of their own.
    """
    match item.get("type"):
        case "message":
            return [_said(item, i, text) for i, text in _texts(item.get("content"))]
        case "reasoning":
            return _reasoning(item)
        case "function_call":
            return [call_of(item)]
        case "custom_tool_call":
            return [call_of({**item, "arguments": item.get("input")})]
        case "local_shell_call":
            return [call_of({**item, "arguments": item.get("action"), "name": "local_shell"})]
        case str() as kind if kind:
            return [Part("whole", ("whole", i), whole=each) for i, each in enumerate(blocks_of(item, provider))]
        case _:
            return []


def call_of(item: Json) -> Part:
    """Return a function call, which may be only just begun."""
    arguments = item.get("arguments")
    text = to_json(arguments).decode() if isinstance(arguments, dict) else text_in(arguments)
    id = text_in(item.get("call_id")) or text_in(item.get("id"))
    return Part("tool_use", CALL, text, id, text_in(item.get("name")), aside=item)


def text_in(value: JsonValue) -> str:
    """Return `value` if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def _texts(content: JsonValue) -> Iterator[tuple[int, str]]:
    """Yield each text that is not empty, with its place."""
    if isinstance(content, str):
        content = [content]
    for place, part in enumerate(content if isinstance(content, list) else ()):
        text = part if isinstance(part, str) else ""
        if isinstance(part, dict):
            text = next((found for name in ("text", "refusal", "transcript") if (found := text_in(part.get(name)))), "")
        if text:
            yield place, text


def _said(item: Json, place: int, text: str) -> Part:
    content = item.get("content")
    part = content[place] if isinstance(content, list) else None
    part = part if isinstance(part, dict) else {}
    notes = part.get("annotations")
    return Part(
        "text",
        ("content", place),
        text,
        phase=text_in(item.get("phase")),
        notes=tuple(note for note in notes if isinstance(note, dict)) if isinstance(notes, list) else (),
        refusal=part.get("type") == "refusal",
    )


def _reasoning(item: Json) -> list[Part]:
    id = text_in(item.get("id"))
    told: list[tuple[Spot, str]] = [(("summary", i), text) for i, text in _texts(item.get("summary"))]
    told += [(("content", i), text) for i, text in _texts(item.get("content"))]
    sealed = text_in(item.get("encrypted_content")) or None
    if sealed and not told:
        told = [(("summary", 0), "")]
    return [
        Part("thinking", spot, text, id=id, sealed=None if place else sealed) for place, (spot, text) in enumerate(told)
    ]


def usage_of(value: Json) -> Usage:
    """Return the tokens that a `usage` object counts; cached and reasoning tokens are included in input and output."""
    given, made = value.get("input_tokens_details"), value.get("output_tokens_details")
    given = given if isinstance(given, dict) else {}
    made = made if isinstance(made, dict) else {}
    return Usage(
        input_tokens=_count(value.get("input_tokens")),
        output_tokens=_count(value.get("output_tokens")),
        cache_read_tokens=_count(given.get("cached_tokens")),
        cache_write_tokens=_count(given.get("cache_write_tokens")),
        reasoning_tokens=_count(made.get("reasoning_tokens")),
    )


def _count(value: JsonValue) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < _MOST else 0

"""Reads the items of an OpenAI response: what each of them adds to a message."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

Json = dict[str, JsonValue]
Kind = Literal["text", "thinking", "tool_use", "image"]
Spot = tuple[str, int]
"""Which part of its item: `("content", 0)`, `("summary", 1)`, `("call", 0)`, `("image", 0)`."""

CALL: Spot = ("call", 0)
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
    media_type: str = ""


def parts_of(item: Json) -> list[Part]:
    """Return what an item adds, in order.

    Work that the provider did with its own tools (searches, code, MCP) leaves nothing: its fruit is in the text.
    """
    match item.get("type"):
        case "message":
            return [Part("text", ("content", i), text) for i, text in _texts(item.get("content"))]
        case "reasoning":
            return _reasoning(item)
        case "function_call":
            return [call_of(item)]
        case "image_generation_call":
            return _image(item)
        case _:
            return []


def call_of(item: Json) -> Part:
    """Return a function call, which may be only just begun."""
    arguments = item.get("arguments")
    text = to_json(arguments).decode() if isinstance(arguments, dict) else text_in(arguments)
    return Part(
        "tool_use", CALL, text, text_in(item.get("call_id")) or text_in(item.get("id")), text_in(item.get("name"))
    )


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


def _image(item: Json) -> list[Part]:
    data = text_in(item.get("result"))
    kind = f"image/{text_in(item.get('output_format')) or 'png'}"
    if data.startswith("data:") and ";base64," in data:
        kind, data = data.removeprefix("data:").split(";base64,", 1)
    return [Part("image", ("image", 0), data, media_type=kind)] if data else []

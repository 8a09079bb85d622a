"""Writes a conversation as a chat completions request."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    URLSource,
    VideoBlock,
)
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Generation
from services.model_gateway.media import PDF, text_file

Json = dict[str, JsonValue]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an endpoint differs from OpenAI's."""

    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    thinking_field: Literal["reasoning_content", "reasoning"] | None = None
    """Where a model's own thinking is sent back to it; None: it is left out."""
    stream_usage: bool = True
    """Whether a stream may be asked to end with its usage."""


def body(ask: Chat, *, model: str, provider: str, dialect: Dialect, stream: bool) -> bytes:
    """Return the request's body. The same ask always gives the same bytes."""
    out: Json = {"model": model, "messages": list(messages(ask, provider=provider, dialect=dialect))}
    if ask.tools:
        out["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in ask.tools
        ]
        if ask.tool_choice != "auto":
            out["tool_choice"] = _tool_choice(ask.tool_choice)
    out.update(_generation(ask.generation, dialect))
    if stream:
        out["stream"] = True
        if dialect.stream_usage:
            out["stream_options"] = {"include_usage": True}
    return to_json(out)


def _tool_choice(choice: str) -> JsonValue:
    if choice in ("none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _generation(generation: Generation, dialect: Dialect) -> Iterator[tuple[str, JsonValue]]:
    wanted: Json = {
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        dialect.max_tokens_field: generation.max_output_tokens,
        "seed": generation.seed,
        "stop": list[JsonValue](generation.stop) or None,
    }
    return ((name, value) for name, value in wanted.items() if value is not None)


def messages(ask: Chat, *, provider: str, dialect: Dialect) -> Iterator[Json]:
    """Yield the conversation turn by turn.

    Media in tool results is shown in a user turn after the last result in a row, because a tool turn holds text only.
    """
    shown: list[JsonValue] = []
    for message in ask.messages:
        results = [block for block in message.content if isinstance(block, ToolResultBlock)]
        if not results and shown:
            yield {"role": "user", "content": shown}
            shown = []
        if len(results) < len(message.content) or not results:
            yield _turn(message, ask, provider, dialect)
        for result in results:
            yield {"role": "tool", "tool_call_id": result.id, "content": _result(result)}
            shown.extend(_promoted(result, ask))
    if shown:
        yield {"role": "user", "content": shown}


def _turn(message: Message, ask: Chat, provider: str, dialect: Dialect) -> Json:
    if message.role == "assistant":
        turn = _assistant(message, provider, dialect)
    else:
        role = "system" if message.role == "system" else "user"
        turn: Json = {"role": role, "content": _content(message.content, ask)}
    if message.name not in (message.role, ask.agent) and message.role != "system" and _NAME.match(message.name):
        turn["name"] = message.name
    return turn


def _assistant(message: Message, provider: str, dialect: Dialect) -> Json:
    turn: Json = {"role": "assistant", "content": message.text}
    if calls := [_call(use) for use in message.tool_uses]:
        turn["tool_calls"] = list[JsonValue](calls)
        turn["content"] = message.text or None
    if dialect.thinking_field:
        own = (b for b in message.content if isinstance(b, ThinkingBlock) and b.provider in (None, provider))
        if thinking := "".join(block.thinking for block in own):
            turn[dialect.thinking_field] = thinking
    return turn


def _call(use: ToolUseBlock) -> Json:
    arguments = use.raw_input or to_json(use.input).decode()
    return {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": arguments}}


def _content(blocks: list[ContentBlock], ask: Chat) -> JsonValue:
    if len(blocks) == 1 and isinstance(blocks[0], TextBlock):
        return blocks[0].text
    parts = [part for block in blocks if (part := _part(block, ask)) is not None]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(str(part["text"]) for part in parts)
    return list[JsonValue](parts)


def _part(block: ContentBlock, ask: Chat) -> Json | None:
    match block:
        case TextBlock():
            return {"type": "text", "text": block.text}
        case ImageBlock():
            return {"type": "image_url", "image_url": {"url": _address(block.source)}}
        case AudioBlock(source=Base64Source(data=data, media_type=kind)) if kind in _AUDIO:
            return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO[kind]}}
        case FileBlock(source=Base64Source(media_type=kind)) if kind == PDF:
            return {"type": "file", "file": {"filename": block.name, "file_data": _address(block.source)}}
        case FileBlock():
            return {"type": "text", "text": _mention(block, ask)}
        case AudioBlock() | VideoBlock():
            kind = block.source.media_type
            return {"type": "text", "text": f"[{block.type} ({kind}): left out, this model's interface takes none]"}
        case _:
            return None


def _address(source: Base64Source | URLSource) -> str:
    return source.url if isinstance(source, URLSource) else f"data:{source.media_type};base64,{source.data}"


def _mention(block: FileBlock, ask: Chat) -> str:
    if not ask.tools and (text := text_file(block)) is not None:
        return f"[attached file {block.name!r} ({block.source.media_type})]\n{text}"
    place = "in the working directory of your tools" if ask.tools else "not shown"
    return f"[attached file {block.name!r} ({block.source.media_type}): {place}]"


def _result(result: ToolResultBlock) -> str:
    lines = [] if result.state == "success" else [f"[{result.state}]"]
    for block in result.output:
        if isinstance(block, TextBlock):
            lines.append(block.text)
        elif isinstance(block, FileBlock):
            lines.append(f"[file {block.name!r} ({block.source.media_type})]")
        elif isinstance(block, ImageBlock | AudioBlock | VideoBlock):
            lines.append(f"[{block.type} ({block.source.media_type}): see the next message]")
    return "\n".join(lines)


def _promoted(result: ToolResultBlock, ask: Chat) -> list[JsonValue]:
    media = [block for block in result.output if isinstance(block, ImageBlock | AudioBlock | VideoBlock)]
    parts = [part for block in media if (part := _part(block, ask)) is not None]
    return [{"type": "text", "text": f"[returned by {result.name} ({result.id})]"}, *parts] if parts else []

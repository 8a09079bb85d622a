"""Writes a conversation as the input items of the responses API."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    MediaBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    URLSource,
    VideoBlock,
)
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from services.model_gateway.media import PDF, text_file
from services.model_gateway.wires.asides import given_back
from services.model_gateway.wires.responses_items import ASIDES, ID, PHASES, TOLD, Json
from services.model_gateway.wires.responses_works import Returned, returned

_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class Memory:
    """Of whom the model is reminded; None: of nobody."""

    thoughts: str | None
    """The provider whose thoughts go back."""
    sealed_only: bool
    """Whether a summary means nothing without its encrypted content, as with OpenAI, which keeps no responses for us;
    others read the summary."""
    works: str | None
    """The provider that gets back what it did with its own tools."""


def items(
    messages: Sequence[Message], ask: Chat, *, memory: Memory, phases: bool, media_results: bool
) -> Iterator[Json]:
    """Yield the conversation item by item.

    `phases`: the model tells what it says on the way from its last word; it wants that told again, even if guessed.
    `media_results`: a call's output may hold pictures and files. What it cannot hold is shown in a user's turn after
    the last output in a row.
    """
    shown: list[JsonValue] = []
    for message in messages:
        results = [block for block in message.content if isinstance(block, ToolResultBlock)]
        if shown and not results:
            yield {"role": "user", "content": shown}
            shown = []
        for result in results:
            inside = [part for block in result.output if (part := _inside(block, media_results)) is not None]
            yield {"type": "function_call_output", "call_id": call_id(result.id), "output": _output(result, inside)}
            shown.extend(_promoted(result, ask, media_results=media_results))
        if message.role == "assistant":
            back = returned(message.content, memory.works)
            yield from _assistant(message, memory, back, phases=phases)
            shown.extend(_drawn(message, ask, back))
        elif content := _content(message.content, ask):
            yield {"role": "system" if message.role == "system" else "user", "content": content}
    if shown:
        yield {"role": "user", "content": shown}


def call_id(id: str) -> str:
    """Return a call's id as the API takes it; one of another provider may be too long."""
    return id if len(id) <= _LONGEST_ID else f"call_{hashlib.sha256(id.encode()).hexdigest()[:32]}"


def _assistant(message: Message, memory: Memory, back: Returned, *, phases: bool) -> Iterator[Json]:
    phase = _phases(message, guess=phases)
    open_item: Json | None = None
    for block in message.content:
        if isinstance(block, ThinkingBlock):
            ours = memory.thoughts is not None and block.provider == memory.thoughts
            more = _reasoning(block, open_item, sealed_only=memory.sealed_only) if ours else None
            if more is not None and more is not open_item:
                if open_item is not None:
                    yield open_item
                open_item = more
            continue
        if open_item is not None:
            yield open_item
            open_item = None
        if isinstance(block, TextBlock) and block.text:
            yield {"role": "assistant", "content": block.text, **next(phase)}
        elif isinstance(block, ToolUseBlock):
            yield {
                "type": "function_call",
                "call_id": call_id(block.id),
                "name": block.name,
                "arguments": arguments(block),
                **given_back(block, ASIDES, memory.works or ""),
            }
        elif (item := back.items.get(id(block))) is not None:
            yield item
    if open_item is not None:
        yield open_item


def _phases(message: Message, *, guess: bool) -> Iterator[Json]:
    """Yield for each text in turn which phase it belongs to: as it was told, else by its place if that is wanted."""
    texts = [block for block in message.content if isinstance(block, TextBlock) and block.text]
    told = message.metadata.get(PHASES)
    if not isinstance(told, list) or len(told) != len(texts):
        told = ["final_answer" if text is message.content[-1] else "commentary" for text in texts] if guess else texts
    return ({"phase": phase} if isinstance(phase, str) and phase else {} for phase in told)


def _reasoning(block: ThinkingBlock, item: Json | None, *, sealed_only: bool) -> Json | None:
    """Return the item that `block` belongs to: `item` with the block added to it, or a new one."""
    id, told = block.metadata.get(ID), block.metadata.get(TOLD)
    if item is None or item.get("id") != id:
        if not id or (sealed_only and not block.redacted and told != "content"):
            return None
        sealed: Json = {"encrypted_content": block.redacted} if block.redacted else {}
        item = {"type": "reasoning", "id": id, "summary": [], **sealed}
    kind, field = ("reasoning_text", "content") if told == "content" else ("summary_text", "summary")
    texts = item.setdefault(field, [])
    if block.thinking and isinstance(texts, list):
        texts.append({"type": kind, "text": block.thinking})
    return item


def arguments(use: ToolUseBlock) -> str:
    """Return a call's arguments as JSON: as they were written, else repaired, else what was written as a value."""
    if not use.raw_input.strip() or (use.input and not _is_json(use.raw_input)):
        return to_json(use.input).decode()
    return use.raw_input if _is_json(use.raw_input) else to_json({"INVALID_JSON": use.raw_input}).decode()


def _is_json(text: str) -> bool:
    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False


def _content(blocks: list[ContentBlock], ask: Chat) -> JsonValue:
    parts = [part for block in blocks if (part := _part(block, ask)) is not None]
    if all(part["type"] == "input_text" for part in parts):
        return "\n".join(str(part["text"]) for part in parts)
    return list[JsonValue](parts)


def _part(block: ContentBlock, ask: Chat) -> Json | None:
    if (shown := _seen(block)) is not None:
        return shown
    match block:
        case AudioBlock(source=Base64Source(data=data, media_type=kind)) if kind in _AUDIO:
            return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO[kind]}}
        case FileBlock():
            return _text(_mention(block, ask))
        case AudioBlock() | VideoBlock():
            return _text(f"[{block.type} ({block.source.media_type}): left out, this model's interface takes none]")
        case _:
            return None


def _inside(block: ContentBlock, media: bool) -> Json | None:
    """Return a block as a call's output may hold it, with or without media."""
    if (media or isinstance(block, TextBlock)) and (shown := _seen(block)) is not None:
        return shown
    match block:
        case FileBlock():
            return _text(f"[file {block.name!r} ({block.source.media_type})]")
        case ImageBlock() | AudioBlock() | VideoBlock():
            return _text(f"[{block.type} ({block.source.media_type}): see the next message]")
        case _:
            return None


def _seen(block: ContentBlock) -> Json | None:
    """Return what messages and outputs hold alike: text, a picture, a PDF."""
    match block:
        case TextBlock():
            return _text(block.text)
        case ImageBlock():
            return {"type": "input_image", "detail": "auto", "image_url": _address(block.source)}
        case FileBlock(source=URLSource(url=url, media_type=kind)) if kind == PDF and url.startswith("http"):
            return {"type": "input_file", "file_url": url}
        case FileBlock(source=Base64Source(media_type=kind)) if kind == PDF:
            return {"type": "input_file", "filename": block.name, "file_data": _address(block.source)}
        case _:
            return None


def _text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _address(source: Base64Source | URLSource) -> str:
    return source.url if isinstance(source, URLSource) else f"data:{source.media_type};base64,{source.data}"


def _mention(block: FileBlock, ask: Chat) -> str:
    if not ask.tools and (text := text_file(block)) is not None:
        return f"[attached file {block.name!r} ({block.source.media_type})]\n{text}"
    place = "in the working directory of your tools" if ask.tools else "not shown"
    return f"[attached file {block.name!r} ({block.source.media_type}): {place}]"


def _output(result: ToolResultBlock, inside: list[Json]) -> JsonValue:
    said = [] if result.state == "success" else [_text(f"[{result.state}]")]
    parts = said + inside
    if all(part["type"] == "input_text" for part in parts):
        return "\n".join(str(part["text"]) for part in parts)
    return list[JsonValue](parts)


def _promoted(result: ToolResultBlock, ask: Chat, *, media_results: bool) -> list[JsonValue]:
    kinds = (AudioBlock, VideoBlock) if media_results else (ImageBlock, AudioBlock, VideoBlock)
    return _shown([block for block in result.output if isinstance(block, kinds)], ask, f"{result.name} ({result.id})")


def _drawn(message: Message, ask: Chat, back: Returned) -> list[JsonValue]:
    """Return the pictures of an assistant's turn, which can hold none, save those that are in an item."""
    drawn = [block for block in message.content if isinstance(block, ImageBlock) and id(block) not in back.pictures]
    return _shown(drawn, ask, message.name)


def _shown(media: Sequence[MediaBlock], ask: Chat, by: str) -> list[JsonValue]:
    parts = [part for block in media if (part := _part(block, ask)) is not None]
    return [_text(f"[returned by {by}]"), *parts] if parts else []

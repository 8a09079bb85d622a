"""Writes messages as Gemini's contents: turns of user and model by turns, each a list of parts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

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
    UnknownBlock,
    VideoBlock,
)
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from services.model_gateway.media import PDF, text_file

Json = dict[str, JsonValue]

FOREIGN = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""Stands for the signature of a call that another model wrote; without one Gemini 3 refuses the whole conversation.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures (FAQ, "skip_thought_signature_validator")."""
KEPT = "provider_part"
"""The type of a block that holds a part of a provider's answer that nobody else has a word for."""
HUNG_ON = "hung_on"
"""In a thought's metadata: what its signature hung on, `thought` or `nothing`; if not said, the block behind it."""
OURS = ("nats://",)
_MODEL = re.compile(r"(?:^|/)gemini-(\d+)(?:\.(\d+))?(?=-|$|@)")
_IN_RESULTS = frozenset({"image/png", "image/jpeg", "image/webp", PDF})
_SPELT = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav"}


def version(model: str) -> tuple[int, int]:
    """Return the version in a model's name; (0, 0) if it names none."""
    found = _MODEL.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


@dataclass(slots=True)
class _Turn:
    role: str
    results: list[JsonValue] = field(default_factory=list[JsonValue])
    """They come first: a result must follow its call at once."""
    parts: list[JsonValue] = field(default_factory=list[JsonValue])


def contents(ask: Chat, *, model: str, provider: str) -> tuple[list[JsonValue], list[JsonValue]]:
    """Return the system instruction's parts and the turns. Messages of one side in a row are one turn.

    A system message in the midst of the talk is said by the user, where it stands.
    """
    system: list[JsonValue] = []
    turns: list[_Turn] = []
    for message in ask.messages:
        if message.role == "system" and not turns:
            if message.text.strip():
                system.append({"text": message.text})
            continue
        for role, results, parts in _said(message, ask, model=model, provider=provider):
            if not turns or turns[-1].role != role:
                turns.append(_Turn(role))
            turns[-1].results += results
            turns[-1].parts += parts
    if not turns:
        turns.append(_Turn("user", parts=system or [{"text": ""}]))
        system = []
    return system, list[JsonValue](map(_whole, turns))


def _whole(turn: _Turn) -> Json:
    return {"role": turn.role, "parts": [*turn.results, *turn.parts]}


def _said(
    message: Message, ask: Chat, *, model: str, provider: str
) -> Iterator[tuple[str, list[JsonValue], list[JsonValue]]]:
    if message.role == "assistant":
        if written := list[JsonValue](_written(message.content, ask, model=model, provider=provider)):
            yield "model", [], written
        spoken: list[JsonValue] = []
    else:
        spoken = [part for block in message.content if (part := _shown(block, ask)) is not None]
    results: list[JsonValue] = []
    for block in message.content:
        if isinstance(block, ToolResultBlock):
            result, promoted = _result(block, ask, newest=version(model) >= (3, 0))
            results.append(result)
            spoken += promoted
    if results or spoken:
        yield "user", results, spoken


def _written(blocks: list[ContentBlock], ask: Chat, *, model: str, provider: str) -> Iterator[Json]:
    """Yield the parts of an answer as the model wrote them, with their signatures where they hung."""
    signature: str | None = None
    unsigned_calls_refused = version(model) >= (3, 0)
    for block in blocks:
        if isinstance(block, ThinkingBlock):
            if block.provider not in (None, provider):
                continue
            hung_on = block.metadata.get(HUNG_ON)
            if block.thinking or hung_on == "thought":
                yield _signed({"text": block.thinking, "thought": True}, block.signature)
            elif hung_on == "nothing":
                yield _signed({"text": ""}, block.signature)
            else:
                signature = block.signature or signature
            continue
        part = _own(block, provider) or _shown(block, ask)
        if part is None:
            continue
        if isinstance(block, ToolUseBlock):
            signature = signature or (FOREIGN if unsigned_calls_refused else None)
            unsigned_calls_refused = False
        yield _signed(part, signature)
        signature = None
    if signature:
        yield _signed({"text": ""}, signature)


def _signed(part: Json, signature: str | None) -> Json:
    return {**part, "thoughtSignature": signature} if signature else part


def _own(block: ContentBlock, provider: str) -> Json | None:
    """Return the part of what a model alone says."""
    if isinstance(block, ToolUseBlock):
        return {"functionCall": {"id": block.id, "name": block.name, "args": block.input}}
    if isinstance(block, UnknownBlock) and block.type == KEPT and block.unknown_fields.get("provider") == provider:
        part = block.unknown_fields.get("part")
        return dict(part) if isinstance(part, dict) else None
    return None


def _shown(block: ContentBlock, ask: Chat) -> Json | None:
    match block:
        case TextBlock():
            return {"text": block.text} if block.text else None
        case ImageBlock() | AudioBlock() | VideoBlock():
            return _media(block)
        case FileBlock():
            return _file(block, ask)
        case _:
            return None


def _media(block: MediaBlock) -> Json:
    source = block.source
    kind = _SPELT.get(source.media_type, source.media_type)
    if isinstance(source, Base64Source):
        return {"inlineData": {"mimeType": kind, "data": source.data}}
    if source.url.startswith(OURS):
        return {"text": f"[{block.type} ({kind}): left out]"}
    return {"fileData": {"fileUri": source.url, "mimeType": kind}}


def _file(block: FileBlock, ask: Chat) -> Json:
    kind = block.source.media_type
    ours = not isinstance(block.source, Base64Source) and block.source.url.startswith(OURS)
    if not ours and (kind == PDF or kind.startswith(("image/", "audio/", "video/"))):
        return _media(block)
    if not ask.tools and (text := text_file(block)) is not None:
        return {"text": f"[attached file {block.name!r} ({kind})]\n{text}"}
    place = "in the working directory of your tools" if ask.tools else "not shown"
    return {"text": f"[attached file {block.name!r} ({kind}): {place}]"}


def _result(result: ToolResultBlock, ask: Chat, *, newest: bool) -> tuple[Json, list[JsonValue]]:
    """Return a result, and the parts that must be shown after it because it cannot hold them."""
    lines = [] if result.state in ("success", "error") else [f"[{result.state}]"]
    inside: list[JsonValue] = []
    after: list[JsonValue] = []
    for block in result.output:
        if isinstance(block, TextBlock):
            lines.append(block.text)
        elif isinstance(block, FileBlock) and block.source.media_type != PDF:
            lines.append(f"[file {block.name!r} ({block.source.media_type})]")
        elif isinstance(block, MediaBlock):
            part = _shown(block, ask)
            held = newest and _can_be_held(block)
            (inside if held else after).append(part)
            lines.append(f"[{block.type} ({block.source.media_type}){'' if held else ': see below'}]")
    said = "\n".join(lines)
    response: Json = {"output" if result.state == "success" else "error": said}
    answer: Json = {"id": result.id, "name": result.name, "response": response}
    if inside:
        answer["parts"] = inside
    heading: list[JsonValue] = [{"text": f"[returned by {result.name} ({result.id})]"}]
    return {"functionResponse": answer}, heading + after if after else []


def _can_be_held(block: MediaBlock) -> bool:
    return isinstance(block.source, Base64Source) and block.source.media_type in _IN_RESULTS

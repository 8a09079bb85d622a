"""Writes media and tool results as the messages API takes them, and tells in words what it does not take."""

from pydantic import JsonValue

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    MediaBlock,
    TextBlock,
    ToolResultBlock,
    URLSource,
    VideoBlock,
)
from services.model_gateway.media import PDF, text_file
from services.model_gateway.ports import Fetches

Json = dict[str, JsonValue]

_STARTS = ("https://",)
FETCHES: Fetches = {"image": _STARTS, "file": _STARTS}
"""Beginnings of addresses that the provider fetches itself."""
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""Source: https://platform.claude.com/docs/en/build-with-claude/vision"""


def part(block: ContentBlock, *, read: bool) -> Json:
    """Return a block of a user's turn; with `read` text files are read out, else tools can open them."""
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageBlock | AudioBlock | VideoBlock | FileBlock):
        return _medium(block, read=read) or {"type": "text", "text": told(block, here=not read)}
    return {"type": "text", "text": told(block)}


def told(block: ContentBlock, *, here: bool = False) -> str:
    """Return words for what cannot be shown; with `here` a file lies in the working directory of the tools."""
    if isinstance(block, FileBlock):
        place = "in the working directory of your tools" if here else "not shown"
        return f"[attached file {block.name!r} ({block.source.media_type}): {place}]"
    if isinstance(block, ImageBlock | AudioBlock | VideoBlock):
        return f"[{block.type} ({block.source.media_type}): left out, this model's interface takes none]"
    return f"[{block.type}: left out]"


def result(block: ToolResultBlock, id: str) -> tuple[Json, list[Json]]:
    """Return a result, and what has to be shown after the last result: one of a failure holds nothing but text."""
    failed = block.state != "success"
    inside: list[Json] = [{"type": "text", "text": f"[{block.state}]"}] if failed else []
    after: list[Json] = []
    for each in block.output:
        if isinstance(each, TextBlock):
            if each.text.strip():
                inside.append({"type": "text", "text": each.text})
        elif isinstance(each, ImageBlock | AudioBlock | VideoBlock | FileBlock):
            medium = _medium(each, read=False)
            (after if medium and failed else inside).append(medium or {"type": "text", "text": _named(each)})
    answer: Json = {"type": "tool_result", "tool_use_id": id}
    if inside:
        answer["content"] = _content(inside)
    if failed:
        answer["is_error"] = True
    label: Json = {"type": "text", "text": f"[returned by {block.name} ({block.id})]"}
    return answer, [label, *after] if after else []


def _content(parts: list[Json]) -> JsonValue:
    if all(part["type"] == "text" for part in parts):
        return "\n".join(str(part["text"]) for part in parts)
    return list[JsonValue](parts)


def _named(block: MediaBlock) -> str:
    return f"[file {block.name!r} ({block.source.media_type})]" if isinstance(block, FileBlock) else told(block)


def _medium(block: MediaBlock, *, read: bool) -> Json | None:
    """Return the part that shows `block`; None if there is none."""
    kind = _kind(block.source)
    if _is_picture(block, kind):
        return _shown("image", _source(block.source, kind))
    if not isinstance(block, FileBlock):
        return None
    if kind == PDF:
        return _shown("document", _source(block.source, kind), title=block.name)
    text = text_file(block) if read else None
    if text and text.strip():
        return _shown("document", {"type": "text", "media_type": "text/plain", "data": text}, title=block.name)
    return None


def _is_picture(block: MediaBlock, kind: str) -> bool:
    """What a picture far away is, only the provider finds out, unless it is said."""
    vague = kind == "image/*" or not kind.startswith("image/")
    far = isinstance(block, ImageBlock) and isinstance(block.source, URLSource)
    return (far and vague) or (isinstance(block, ImageBlock | FileBlock) and kind in _IMAGES)


def _shown(type: str, source: Json | None, **more: JsonValue) -> Json | None:
    return {"type": type, "source": source, **more} if source else None


def _kind(source: Base64Source | URLSource) -> str:
    kind = source.media_type.partition(";")[0].strip().lower()
    return "image/jpeg" if kind == "image/jpg" else kind


def _source(source: Base64Source | URLSource, kind: str) -> Json | None:
    if isinstance(source, Base64Source):
        return {"type": "base64", "media_type": kind, "data": source.data}
    return {"type": "url", "url": source.url} if source.url.startswith(_STARTS) else None

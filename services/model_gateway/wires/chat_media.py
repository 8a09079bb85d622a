"""Writes media as parts of a chat completions message, and reads it out of answers."""

import base64
import binascii
import re

from pydantic import JsonValue

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    URLSource,
    VideoBlock,
)
from natscope.contracts.model import Chat
from services.model_gateway.media import PDF, text_file
from services.model_gateway.sniffing import SNIFFED, kind_of, plain_kind
from services.model_gateway.wires.dialects import Dialect, Json, Media

_FORMATS = {"audio/mpeg": "mp3", "audio/mp4": "m4a", "audio/x-m4a": "m4a"}
_RAW_SOUND = "audio/pcm"
"""16 bit at 24 kHz, which is how streamed sound comes."""
_PIECE = re.compile(r"[^=]+=*")
"""One base64 text ends and the next begins behind the padding."""


def part(block: ContentBlock, ask: Chat, dialect: Dialect) -> Json | None:
    """Return a block as a part of a message, None if it is no content; what the endpoint does not take is mentioned."""
    media = dialect.media
    match block:
        case TextBlock():
            return {"type": "text", "text": block.text} if block.text else None
        case ImageBlock() if media.image:
            return {"type": "image_url", "image_url": {"url": _address(block.source)}}
        case VideoBlock() if media.video:
            return {"type": "video_url", "video_url": {"url": _address(block.source)}}
        case AudioBlock() if (heard := _sound(block, media)) is not None:
            return heard
        case FileBlock() if media.file is not None and plain_kind(block.source.media_type) == PDF:
            return _file(block, ask, dialect)
        case FileBlock():
            return _text(_mention(block, ask))
        case ImageBlock() | AudioBlock() | VideoBlock():
            kind = block.source.media_type
            return _text(f"[{block.type} ({kind}): left out, this model's interface takes none]")
        case _:
            return None


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _address(source: Base64Source | URLSource) -> str:
    return source.url if isinstance(source, URLSource) else f"data:{source.media_type};base64,{source.data}"


def _sound(block: AudioBlock, media: Media) -> Json | None:
    source = block.source
    kind = plain_kind(source.media_type)
    form = _FORMATS.get(kind, kind.partition("/")[2])
    if form not in media.audio:
        return None
    if media.audio_as == "data_url":
        data = source.url if isinstance(source, URLSource) else f"data:;base64,{source.data}"
    elif isinstance(source, Base64Source):
        data = source.data
    else:
        return None
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def _file(block: FileBlock, ask: Chat, dialect: Dialect) -> Json:
    source = block.source
    if isinstance(source, URLSource) and "file" not in dialect.fetches:
        return _text(_mention(block, ask))
    if dialect.media.file == "document_url":
        return {"type": "document_url", "document_url": _address(source), "document_name": block.name}
    return {"type": "file", "file": {"filename": block.name, "file_data": _address(source)}}


def _mention(block: FileBlock, ask: Chat) -> str:
    if not ask.tools and (text := text_file(block)) is not None:
        return f"[attached file {block.name!r} ({block.source.media_type})]\n{text}"
    place = "in the working directory of your tools" if ask.tools else "not shown"
    return f"[attached file {block.name!r} ({block.source.media_type}): {place}]"


def sound_in(data: str) -> AudioBlock | None:
    """Return the sound of an answer; None if it is no base64."""
    found = _bytes(data)
    if found is None:
        return None
    kind = kind_of(found[:SNIFFED]) or _RAW_SOUND
    return AudioBlock(source=Base64Source(data=base64.b64encode(found).decode(), media_type=kind))


def picture_in(value: JsonValue) -> ImageBlock | None:
    """Return the picture of an answer's part `{type: image_url, image_url: {url}}`; None if it shows none."""
    inner = value.get("image_url") if isinstance(value, dict) else None
    url = inner.get("url") if isinstance(inner, dict) else inner
    if not isinstance(url, str) or not url:
        return None
    if not url.startswith("data:"):
        return ImageBlock(source=URLSource(url=url, media_type="image/*"))
    head, _, data = url[5:].partition(",")
    found = _bytes(data) if head.endswith(";base64") else None
    if found is None:
        return None
    kind = head.partition(";")[0] or kind_of(found[:SNIFFED]) or "image/png"
    return ImageBlock(source=Base64Source(data=base64.b64encode(found).decode(), media_type=kind))


def _bytes(data: str) -> bytes | None:
    """Return what a base64 text holds; several that were joined count as one. None if it holds nothing."""
    try:
        return b"".join(base64.b64decode(piece, validate=True) for piece in _PIECE.findall(data)) or None
    except (binascii.Error, ValueError):
        return None

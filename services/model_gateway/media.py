"""Brings media to where a provider can see it: blobs of ours are loaded and put inline."""

import base64
from collections.abc import Iterable
from typing import Protocol

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    MediaBlock,
    ToolResultBlock,
    URLSource,
    VideoBlock,
)
from natscope.contracts.errors import BodyTooLarge
from natscope.contracts.model import Chat

PDF = "application/pdf"
BLOB = "nats://blob/"
TEXT_BYTES = 32 << 10
"""Text files up to this size are read out to a model that has no tools to open them."""


class Blobs(Protocol):
    """Where blobs are kept."""

    async def load(self, url: str, *, digest: str | None = None) -> bytes:
        """Return the bytes of a blob."""
        ...


async def inlined(ask: Chat, blobs: Blobs, *, max_bytes: int) -> Chat:
    """Return `ask` with every blob that the model will see put inline; files for its tools stay where they are.

    Raises:
        BodyTooLarge: together they are over `max_bytes`; nothing was loaded.
        BlobNotFound: one is gone.
    """
    wanted = [block for message in ask.messages for block in _media(message.content) if _is_seen(block, ask)]
    if not wanted:
        return ask
    size = sum(block.source.size_bytes or 0 for block in wanted if isinstance(block.source, URLSource))
    if size > max_bytes:
        raise BodyTooLarge(
            f"the conversation holds {size} bytes of media for the model, the limit is {max_bytes}",
            remedy="send smaller media, or raise MODEL_GATEWAY_MAX_MEDIA_BYTES",
        )
    inline: dict[str, Base64Source] = {}
    for block in wanted:
        source = block.source
        if isinstance(source, URLSource) and source.url not in inline:
            data = await blobs.load(source.url, digest=source.digest)
            inline[source.url] = Base64Source(data=base64.b64encode(data).decode(), media_type=source.media_type)
    messages = [each.model_copy(update={"content": _replaced(each.content, inline)}) for each in ask.messages]
    return ask.model_copy(update={"messages": messages})


def text_file(block: FileBlock) -> str | None:
    """Return the text of a small text file that is inline, else None."""
    if not isinstance(block.source, Base64Source) or not _is_text(block.source.media_type):
        return None
    try:
        data = base64.b64decode(block.source.data, validate=True)
        return data.decode() if len(data) <= TEXT_BYTES else None
    except ValueError:
        return None


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in ("application/json", "application/yaml")


def _media(content: Iterable[ContentBlock]) -> Iterable[MediaBlock]:
    for block in content:
        if isinstance(block, ToolResultBlock):
            yield from _media(block.output)
        elif isinstance(block, ImageBlock | AudioBlock | VideoBlock | FileBlock):
            yield block


def _is_seen(block: MediaBlock, ask: Chat) -> bool:
    source = block.source
    if not isinstance(source, URLSource) or not source.url.startswith(BLOB):
        return False
    if isinstance(block, FileBlock):
        readable = not ask.tools and _is_text(source.media_type) and (source.size_bytes or 0) <= TEXT_BYTES
        return source.media_type == PDF or readable
    return not isinstance(block, VideoBlock)


def _replaced(content: list[ContentBlock], inline: dict[str, Base64Source]) -> list[ContentBlock]:
    out: list[ContentBlock] = []
    for block in content:
        if isinstance(block, ToolResultBlock):
            out.append(block.model_copy(update={"output": _replaced(block.output, inline)}))
        elif isinstance(block, ImageBlock | AudioBlock | VideoBlock | FileBlock) and (
            isinstance(block.source, URLSource) and block.source.url in inline
        ):
            out.append(block.model_copy(update={"source": inline[block.source.url]}))
        else:
            out.append(block)
    return out

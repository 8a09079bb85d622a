"""Puts what a model drew or spoke within its message where large media belongs: into the blob store."""

import base64
from typing import Protocol

from natscope.contracts.blocks import Base64Source, ContentBlock, MediaBlock, TextBlock, URLSource

INLINE_BYTES = 64 << 10
"""Media up to this size stays in the message; see `contracts.blocks.Base64Source`."""


class Store(Protocol):
    """Keeps what was made."""

    async def source(self, data: bytes, media_type: str) -> URLSource | Base64Source:
        """Return a reference to `data`, or itself if it is small."""
        ...


async def stored(content: list[ContentBlock], store: Store) -> list[ContentBlock]:
    """Return `content` with its large media by reference. What is no base64 is said to be unreadable."""
    if not any(_is_large(block) for block in content):
        return content
    return [await _stored(block, store) if _is_large(block) else block for block in content]


def _is_large(block: ContentBlock) -> bool:
    if not isinstance(block, MediaBlock) or not isinstance(block.source, Base64Source):
        return False
    data = block.source.data
    return len(data) * 3 // 4 - data[-2:].count("=") > INLINE_BYTES


async def _stored(block: ContentBlock, store: Store) -> ContentBlock:
    if not isinstance(block, MediaBlock) or not isinstance(block.source, Base64Source):
        return block
    try:
        data = base64.b64decode(block.source.data, validate=True)
    except ValueError:
        return TextBlock(text=f"[{block.type} ({block.source.media_type}): its data cannot be read]")
    return block.model_copy(update={"source": await store.source(data, block.source.media_type)})

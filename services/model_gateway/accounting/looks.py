"""Estimates what media take of a prompt, by kind and size."""

import base64
import struct
from math import ceil

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    URLSource,
    VideoBlock,
)

HEAD = 4096
"""Bytes at the beginning of a picture that tell its size."""
UNSEEN = (1024, 1024)
"""Pixels of a picture that is only named."""
PAGE_BYTES = 50_000
PAGE_TOKENS = {"tiles": 220, "patches": 1600, "google": 258}
SECOND_BYTES = 16_000
"""Of sound, as it is mostly sent."""
SECOND_TOKENS = {"tiles": 10, "patches": 32, "google": 32}


def tokens_of_media(block: ContentBlock, way: str) -> float:
    """Return what a block of media takes, 0 for any other block.

    `way` is how pictures are counted: OpenAI's `tiles`, Anthropic's `patches` (of 750 pixels), or `google`'s.
    Sources: https://platform.openai.com/docs/guides/images-vision#calculating-costs,
    https://docs.claude.com/en/docs/build-with-claude/vision#calculate-image-costs,
    https://ai.google.dev/gemini-api/docs/tokens#multimodal-tokens
    """
    if isinstance(block, ImageBlock):
        return _picture(*_pixels(block), way)
    if isinstance(block, FileBlock):
        return PAGE_TOKENS[way] * ceil(_bytes(block) / PAGE_BYTES)
    if isinstance(block, AudioBlock | VideoBlock):
        return max(1.0, _bytes(block) / SECOND_BYTES) * SECOND_TOKENS[way]
    return 0.0


def _picture(width: int, height: int, way: str) -> float:
    if way == "patches":
        shrink = min(1.0, 1568 / max(width, height))
        return min(1600.0, width * height * shrink * shrink / 750)
    if way == "google":
        return 258.0 if max(width, height) <= 384 else 258.0 * ceil(width / 768) * ceil(height / 768)
    shrink = min(1.0, 2048 / max(width, height))
    shrink *= min(1.0, 768 / (min(width, height) * shrink))
    return 85 + 170 * ceil(width * shrink / 512) * ceil(height * shrink / 512)


def _bytes(block: AudioBlock | VideoBlock | FileBlock) -> int:
    source = block.source
    return source.size_bytes or PAGE_BYTES if isinstance(source, URLSource) else len(source.data) * 3 // 4


def _pixels(block: ImageBlock) -> tuple[int, int]:
    """Return width and height by the head of the picture."""
    if not isinstance(block.source, Base64Source):
        return UNSEEN
    try:
        head = base64.b64decode(block.source.data[: HEAD // 3 * 4])
        width, height = _png(head) or _gif(head) or _webp(head) or _jpeg(head) or UNSEEN
    except (ValueError, struct.error, IndexError):
        return UNSEEN
    return max(1, width), max(1, height)


def _png(head: bytes) -> tuple[int, int] | None:
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" else None


def _gif(head: bytes) -> tuple[int, int] | None:
    return struct.unpack("<HH", head[6:10]) if head[:4] == b"GIF8" else None


def _webp(head: bytes) -> tuple[int, int] | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2 if head[:2] == b"\xff\xd8" else len(head)
    while at + 9 < len(head):
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None

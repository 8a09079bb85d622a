"""Bytes as blocks of a message: pictures, sound and video as such, anything else as a file."""

import logging
import mimetypes
from collections.abc import Sequence

from pydantic import ValidationError

from natscope.contracts.blocks import AudioBlock, ContentBlock, FileBlock, ImageBlock, TextBlock, VideoBlock
from services.tool_executor.cells import Artifact, Cell, FileRefused
from services.tool_executor.tools.port import Media

log = logging.getLogger(__name__)

MEDIA_BYTES = 8 << 20
"""Of one picture, sound, video or file that is shown."""
MOST = 16
"""Files of one run that are shown."""

_KINDS = {"image": ImageBlock, "audio": AudioBlock, "video": VideoBlock}
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Pictures that models take; any other is a file."""
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


def media_type_of(path: str, data: bytes = b"") -> str:
    """Return the kind of a file: of pictures by what they begin with, of the rest by its name."""
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    guessed, encoding = mimetypes.guess_type(path)
    kind = guessed if guessed is not None and encoding is None else "application/octet-stream"
    return "application/octet-stream" if data and kind in _SHOWN else kind


def is_media(media_type: str) -> bool:
    """Return whether it is shown as a picture, sound or video."""
    return media_type in _SHOWN or media_type.partition("/")[0] in ("audio", "video")


async def block_of(path: str, data: bytes, media: Media) -> ContentBlock:
    """Return the file at `path` as a block; above 64 KiB by reference."""
    kind = media_type_of(path, data)
    source = await media.source(data, kind)
    if is_media(kind):
        return _KINDS[kind.partition("/")[0]](source=source)
    return FileBlock(name=path, source=source)


async def blocks_of(artifacts: Sequence[Artifact], left_out: int, cell: Cell, media: Media) -> list[ContentBlock]:
    """Return what a run left in its output folder, and say which of it is not shown."""
    blocks: list[ContentBlock] = []
    for artifact in artifacts[:MOST]:
        try:
            data = await cell.read_file(artifact.path, limit_bytes=MEDIA_BYTES)
            blocks.append(await block_of(artifact.path, data, media))
        except FileRefused as error:
            blocks.append(TextBlock(text=f"[{artifact.path} is not shown: {error}]"))
        except ValidationError:
            blocks.append(TextBlock(text=f"[{artifact.path!r} is not shown: its name is no path that others can use]"))
    hidden = left_out + max(0, len(artifacts) - MOST)
    if hidden:
        blocks.append(TextBlock(text=f"[{hidden} more files are in the output folder]"))
    return blocks

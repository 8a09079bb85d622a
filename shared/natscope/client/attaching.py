"""Files on their way to an agent: small ones inside the task, larger ones as blobs."""

import asyncio
import hashlib
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from natscope.bus.blobs import Blobs
from natscope.bus.envelope import explain
from natscope.contracts.blocks import FileBlock
from natscope.contracts.errors import BodyInvalid, BodyTooLarge

MAX_FILE_BYTES = 64 << 20
"""A file above this is refused (64 MiB)."""
MAX_FILES = 64


@dataclass(frozen=True)
class Attachment:
    """A file's bare name and its bytes."""

    name: str
    data: bytes


Attachable = str | Path | Attachment
"""A path, or a file that is in memory."""


async def attach(blobs: Blobs, files: Sequence[Attachable], *, task_id: str) -> list[FileBlock]:
    """Return the files as blocks. The same file for the same task gives the same block, so a task can be sent again.

    Raises:
        BodyInvalid: a path is no readable file, two files have the same name, or there are more than 64.
        BodyTooLarge: a file is over 64 MiB.
    """
    if len(files) > MAX_FILES:
        raise BodyInvalid(
            f"{len(files)} files for one task; {MAX_FILES} are allowed", remedy="pack them into an archive"
        )
    attachments = [
        file if isinstance(file, Attachment) else await asyncio.to_thread(_read, Path(file)) for file in files
    ]
    names = [attachment.name for attachment in attachments]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BodyInvalid(f"two files are named {min(twice)!r}", remedy="rename one: they share a folder")
    return [await _block(blobs, attachment, task_id) for attachment in attachments]


def _read(path: Path) -> Attachment:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _too_large(path.name, size)
        return Attachment(path.name, path.read_bytes())
    except OSError as error:
        raise BodyInvalid(f"file {str(path)!r} cannot be read: {error.strerror}", remedy="check the path") from error


async def _block(blobs: Blobs, file: Attachment, task_id: str) -> FileBlock:
    if len(file.data) > MAX_FILE_BYTES:
        raise _too_large(file.name, len(file.data))
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    digest = hashlib.sha256(task_id.encode() + b"\0" + file.data).hexdigest()
    source = await blobs.source(file.data, media_type, name=digest)
    try:
        return FileBlock(name=file.name, source=source)
    except ValidationError as error:
        raise BodyInvalid(f"file {file.name!r}: {explain(error)}") from error


def _too_large(name: str, size: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"file {name!r} has {size:,} bytes; {MAX_FILE_BYTES:,} are allowed", remedy="split or compress the file"
    )

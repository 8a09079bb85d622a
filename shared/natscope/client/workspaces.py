"""A session's files: what its tools work on, from outside."""

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from natscope.bus.connection import Bus
from natscope.contracts import workspace
from natscope.contracts.blocks import FileBlock, FilePath
from natscope.contracts.errors import BodyInvalid

ARCHIVE_TYPE = "application/x-tar"
_PATH: TypeAdapter[str] = TypeAdapter(FilePath)


@dataclass(frozen=True)
class Workspace:
    """The files of one session. They are there while its cell is: until the session ends or was idle too long."""

    bus: Bus
    session: str

    async def files(self, pattern: str = "**") -> Sequence[workspace.Entry]:
        """Return the files whose path fits, by path; `**` stands for any folders."""
        return (await self.bus.ask(workspace.LIST, workspace.List(session=self.session, pattern=pattern))).files

    async def read(self, *paths: str) -> dict[str, bytes]:
        """Return files by their paths.

        Raises:
            NotFound: one is not there.
            BodyInvalid: a path is none inside a workspace, or leads to no file.
        """
        asked = workspace.Read(session=self.session, paths=_checked(paths))
        found = await self.bus.ask(workspace.READ, asked)
        return {file.name: await self.bus.blobs.bytes_of(file) for file in found.files}

    async def write(self, files: Mapping[str, bytes]) -> Sequence[workspace.Entry]:
        """Put files in by their paths; what is there is replaced.

        Raises:
            BodyInvalid: a path is none inside a workspace.
            BodyTooLarge: the workspace has no room for them; those before may be there.
        """
        _checked(files)
        blocks = [await self._block(path, data) for path, data in files.items()]
        return (await self.bus.ask(workspace.WRITE, workspace.Write(session=self.session, files=blocks))).files

    async def remove(self, *paths: str) -> int:
        """Remove files, or folders with all that is in them; return how many files went."""
        asked = workspace.Remove(session=self.session, paths=_checked(paths))
        return (await self.bus.ask(workspace.REMOVE, asked)).files

    async def snapshot(self) -> workspace.Snapshotted:
        """Keep the whole as one archive, by reference; `restore` takes it, for this session or another.

        Raises:
            NotFound: the session has no files.
        """
        return await self.bus.ask(workspace.SNAPSHOT, workspace.Snapshot(session=self.session))

    async def restore(self, archive: FileBlock | bytes) -> workspace.Restored:
        """Fill the workspace from a snapshot, or from the bytes of a tar; what it held before is gone.

        Raises:
            BodyInvalid: it is no tar, or holds a link, a device, or a path that leads out; nothing was changed.
            BodyTooLarge: the workspace has no room for it; nothing was changed.
        """
        if isinstance(archive, bytes):
            archive = FileBlock(name="archive.tar", source=await self.bus.blobs.source(archive, ARCHIVE_TYPE))
        return await self.bus.ask(workspace.RESTORE, workspace.Restore(session=self.session, archive=archive))

    async def bytes_of(self, file: FileBlock) -> bytes:
        """Return the bytes of a file that came by reference, such as a snapshot's archive."""
        return await self.bus.blobs.bytes_of(file)

    async def _block(self, path: str, data: bytes) -> FileBlock:
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return FileBlock(name=path, source=await self.bus.blobs.source(data, kind))


def _checked(paths: Iterable[str]) -> list[str]:
    return [_checked_path(path) for path in paths]


def _checked_path(path: str) -> str:
    try:
        return _PATH.validate_python(path)
    except ValidationError as error:
        raise BodyInvalid(
            f"{path!r} is no path inside a workspace", remedy="relative, with `/`, without `.` and `..`"
        ) from error

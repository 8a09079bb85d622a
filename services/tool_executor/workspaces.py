"""A session's files, for askers from outside: what is there, in and out, and the whole as one archive."""

import logging
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from natscope.contracts import workspace
from natscope.contracts.blocks import FileBlock
from natscope.contracts.errors import BodyInvalid, BodyTooLarge, NatscopeError, NotFound, SandboxUnavailable
from services.tool_executor.cell_files import FileFacts
from services.tool_executor.cells import Cell, CellLost, FileRefused
from services.tool_executor.sessions import Sessions
from services.tool_executor.tools.attaching import media_type_of
from services.tool_executor.tools.port import Media

log = logging.getLogger(__name__)

LISTED = 5000
"""Files of one answer."""
FILE_BYTES = 64 << 20
"""Of one file that is read."""
ARCHIVE_TYPE = "application/x-tar"


class Workspaces:
    """The files of the sessions whose cells are, or will be, in this process.

    A session without a cell has no files: it gets one when something is written, and not before.
    """

    def __init__(self, sessions: Sessions, media: Media) -> None:
        self._sessions = sessions
        self._media = media

    async def list(self, ask: workspace.List) -> workspace.Listed:
        """Return the files that fit the pattern, by path."""
        async with self._opened(ask.session) as cell:
            found = await cell.glob(ask.pattern) if cell is not None else ()
        files = sorted((_entry(file) for file in found), key=lambda file: file.path)
        return workspace.Listed(files=files[:LISTED], truncated=len(files) > LISTED)

    async def read(self, ask: workspace.Read) -> workspace.Contents:
        """Return files with their bytes.

        Raises:
            NotFound: one of them is not there.
        """
        async with self._opened(ask.session) as cell:
            if cell is None:
                raise NotFound(f"there is no {ask.paths[0]!r}: session {ask.session!r} has no files")
            return workspace.Contents(files=[await self._file(cell, path) for path in ask.paths])

    async def write(self, ask: workspace.Write) -> workspace.Written:
        """Put files in; those before one that is refused are written."""
        contents = {file.name: await self._media.bytes_of(file) for file in ask.files}
        async with self._made(ask.session) as cell:
            for path, data in contents.items():
                await cell.put_file(path, data)
            return workspace.Written(files=[_entry(await cell.stat_file(path)) for path in contents])

    async def remove(self, ask: workspace.Remove) -> workspace.Removed:
        """Remove files and folders; none if one of the paths is wrong."""
        async with self._opened(ask.session) as cell:
            return workspace.Removed(files=await cell.remove_files(ask.paths) if cell is not None else 0)

    async def snapshot(self, ask: workspace.Snapshot) -> workspace.Snapshotted:
        """Return the whole workspace as an archive.

        Raises:
            NotFound: the session has no cell.
        """
        async with self._opened(ask.session) as cell:
            if cell is None:
                raise NotFound(f"session {ask.session!r} has no files")
            archive, files = await cell.archive(), await cell.list_files()
        block = FileBlock(name=f"{ask.session}.tar", source=await self._media.source(archive, ARCHIVE_TYPE))
        return workspace.Snapshotted(archive=block, files=len(files), size_bytes=_sizes(files))

    async def restore(self, ask: workspace.Restore) -> workspace.Restored:
        """Fill the workspace from an archive; a wrong one changes nothing."""
        archive = await self._media.bytes_of(ask.archive)
        async with self._made(ask.session) as cell:
            files = await cell.restore(archive)
        log.info("workspace restored", extra={"session": ask.session, "files": len(files)})
        return workspace.Restored(files=len(files), size_bytes=_sizes(files))

    async def _file(self, cell: Cell, path: str) -> FileBlock:
        data = await cell.read_file(path, limit_bytes=FILE_BYTES)
        return FileBlock(name=path, source=await self._media.source(data, media_type_of(path, data)))

    @asynccontextmanager
    async def _opened(self, session: str) -> AsyncGenerator[Cell | None]:
        """Give the session's cell to the body; None if it has none."""
        if not self._sessions.holds(session):
            yield None
            return
        async with self._made(session) as cell:
            yield cell

    @asynccontextmanager
    async def _made(self, session: str) -> AsyncGenerator[Cell]:
        with _in_our_words():
            async with self._sessions.workspace(session) as found:
                yield found.cell


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Raise what the cell says as the asker's exception."""
    try:
        yield
    except FileRefused as error:
        raise _refusal(error) from error
    except CellLost as error:
        remedy = "ask again; the workspace was lost with it"
        raise SandboxUnavailable(f"the session's cell was lost: {error}", remedy=remedy) from error


def _refusal(error: FileRefused) -> NatscopeError:
    kinds = {"not_found": NotFound, "too_large": BodyTooLarge, "no_room": BodyTooLarge}
    return kinds.get(error.code, BodyInvalid)(str(error), details={"reason": error.code})


def _entry(file: FileFacts) -> workspace.Entry:
    return workspace.Entry(path=file.path, size_bytes=file.size_bytes, changed_at=file.changed_at)


def _sizes(files: Iterable[FileFacts]) -> int:
    return sum(file.size_bytes for file in files)

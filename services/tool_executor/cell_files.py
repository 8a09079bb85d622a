"""The files of a cell, as the rest of the house asks for them: the file half of the port `Cell`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

READ_BYTES = 16 << 20
"""Of one file, unless a caller asks for more."""
ARCHIVE_BYTES = 256 << 20
LONG_AGO = datetime.fromtimestamp(0, UTC)


class FileRefused(Exception):
    """The cell does not read or write that file; `code` says why in one word.

    `bad_path`     not a relative path inside the workspace
    `not_found`    nothing is there, or the text to be replaced is not
    `not_a_file`   a folder, a device, a pipe, or behind a link
    `not_unique`   the text to be replaced is there more than once
    `not_text`     the file is not UTF-8
    `too_large`    over the limit that the caller or the cell sets
    `no_room`      the workspace is full
    `bad_pattern`  no regular expression or glob, or one that takes too long
    `bad_archive`  not a tar, or one with a link, a device, a hole, or a path that leads out
    `os_error`     whatever else the system says
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class FileFacts:
    """A regular file in a workspace."""

    path: str
    size_bytes: int
    changed_at: datetime = LONG_AGO


@dataclass(frozen=True)
class Match:
    """A line that a pattern was found in, with the lines around it."""

    path: str
    line: int
    """Counts from 1."""
    text: str
    """Without its end; cut after 2,000 characters."""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matches:
    """What was found, file by file in the order of their paths."""

    found: tuple[Match, ...]
    truncated: bool = False
    """True if there are more than were asked for."""


class Files(Protocol):
    """A workspace. Paths are relative to it and use `/`; no link is ever followed."""

    async def put_file(self, path: str, data: bytes) -> None:
        """Write `data` to `path`; folders are made, what is there is replaced.

        Raises:
            FileRefused: for want of room (`no_room`), nothing is at `path` then; or for what the path is.
            CellLost
        """
        ...

    async def read_file(self, path: str, *, limit_bytes: int = READ_BYTES) -> bytes:
        """Return the bytes of the regular file at `path`.

        Raises:
            FileRefused: `not_found`, `not_a_file`, or over `limit_bytes` (`too_large`).
            CellLost
        """
        ...

    async def has_file(self, path: str) -> bool:
        """Return whether there is a regular file at `path`.

        Raises:
            CellLost
        """
        ...

    async def stat_file(self, path: str) -> FileFacts:
        """Return the facts of the regular file at `path`.

        Raises:
            FileRefused: `not_found`, `not_a_file`.
            CellLost
        """
        ...

    async def list_files(self) -> tuple[FileFacts, ...]:
        """Return all regular files of the workspace, by path.

        Raises:
            CellLost
        """
        ...

    async def glob(self, pattern: str) -> tuple[FileFacts, ...]:
        """Return the regular files whose path fits `pattern`, the last changed first.

        `*`, `?` and `[…]` stay within one folder, `**` stands for any folders or none.

        Raises:
            FileRefused: `bad_pattern`.
            CellLost
        """
        ...

    async def grep(self, pattern: str, *, glob: str = "**", context: int = 0, max_matches: int = 200) -> Matches:
        """Return the lines that `pattern`, a Python regular expression, is found in; binary files are passed over.

        Raises:
            FileRefused: `bad_pattern`, also if the search takes more than a few seconds.
            CellLost
        """
        ...

    async def edit_file(self, path: str, old: str, new: str, *, replace_all: bool = False) -> int:
        """Replace `old` by `new` in the text at `path` and return how often; done whole or not at all.

        Raises:
            FileRefused: `not_found`; `not_unique` without `replace_all`; `not_text`; `too_large`; `no_room`.
            CellLost
        """
        ...

    async def remove_files(self, paths: Iterable[str]) -> int:
        """Remove files and links, and folders with all that is in them; return how many files went.

        What is not there is no error.

        Raises:
            FileRefused: `bad_path`; nothing was removed.
            CellLost
        """
        ...

    async def archive(self, *, limit_bytes: int = ARCHIVE_BYTES) -> bytes:
        """Return a tar of the workspace's regular files and folders; whatever else is there is left out.

        Raises:
            FileRefused: over `limit_bytes` (`too_large`).
            CellLost
        """
        ...

    async def restore(self, archive: bytes) -> tuple[FileFacts, ...]:
        """Fill the workspace from a tar and return its files; what it held before is gone.

        The archive is checked as a whole before anything is touched.

        Raises:
            FileRefused: `bad_archive`, `too_large` (bytes or number of files): the workspace is as it was.
            CellLost
        """
        ...

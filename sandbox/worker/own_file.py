"""The file that a program is to itself: there while it runs, for those that read or start themselves."""

from __future__ import annotations

import contextlib
import os

from .program import NAME

_MARKS = (b"__file__", b"argv")
"""A program whose source has none of these does not ask for its file."""


class OwnFile:
    """A file with a program's source in its folder, as long as nobody else has one of that name there."""

    def __init__(self, folder: str, source: bytes) -> None:
        self._path = os.path.join(folder, NAME)
        self._made: tuple[int, ...] = ()
        if any(mark in source for mark in _MARKS):
            with contextlib.suppress(OSError):
                self._write(source)

    def remove(self) -> None:
        """Remove it, unless the program has made something else of it."""
        if self._made:
            with contextlib.suppress(OSError):
                if _identity(os.lstat(self._path)) == self._made:
                    os.unlink(self._path)

    def _write(self, source: bytes) -> None:
        file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o644)
        try:
            os.write(file, source)
        finally:
            self._made = _identity(os.fstat(file))
            os.close(file)


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_ino, facts.st_size, facts.st_mtime_ns

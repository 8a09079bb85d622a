"""Read and write files of the workspace without ever following a link out of it."""

from __future__ import annotations

import os
import stat

ROOT = "/workspace"
MAX_LISTING = 1024 * 1024
"""Bytes of one listing, so that it fits a frame; what is over is left off, and that is said."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Refused(Exception):
    """The path cannot be served; `code` says why in one word."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Workspace:
    """The files below one folder, addressed by relative paths."""

    def __init__(self, root: str = ROOT) -> None:
        self._root = root

    def write(self, path: str, offset: int, data: bytes) -> int:
        """Store `data` at `offset` of `path` and return the file's size; offset 0 starts the file anew."""
        folder, name = self._parent(path, create=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | _FILE | (os.O_TRUNC if offset == 0 else 0)
            handle = os.open(name, flags, 0o644, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            _must_be_regular(handle, path)
            _write_all(handle, data, offset)
            return os.fstat(handle).st_size
        finally:
            os.close(handle)

    def read(self, path: str, offset: int, size: int) -> tuple[bytes, int]:
        """Return up to `size` bytes of `path` from `offset` on, and the file's whole size."""
        folder, name = self._parent(path, create=False)
        try:
            handle = os.open(name, os.O_RDONLY | _FILE, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            _must_be_regular(handle, path)
            return os.pread(handle, size, offset), os.fstat(handle).st_size
        finally:
            os.close(handle)

    def stat(self, path: str) -> tuple[int, float]:
        """Return size and time of change of the regular file at `path`."""
        folder, name = self._parent(path, create=False)
        try:
            facts = os.lstat(name, dir_fd=folder)
        finally:
            os.close(folder)
        if not stat.S_ISREG(facts.st_mode):
            raise Refused("not_a_file", f"{path!r} is not a regular file")
        return facts.st_size, facts.st_mtime

    def listing(self, *, skip: int = 0) -> tuple[list[tuple[str, int, float]], bool]:
        """Return path, size and time of change of regular files, and whether there are more; `skip` were told before."""
        found: list[tuple[str, int, float]] = []
        room = MAX_LISTING
        for folder, folders, names, handle in os.fwalk(self._root, follow_symlinks=False):
            folders.sort()
            for name in sorted(names):
                facts = os.lstat(name, dir_fd=handle) if _exists(name, handle) else None
                if facts is None or not stat.S_ISREG(facts.st_mode):
                    continue
                if skip > 0:
                    skip -= 1
                    continue
                path = _plain(os.path.relpath(os.path.join(folder, name), self._root))
                room -= 6 * len(path) + 100
                if room < 0:
                    return found, True
                found.append((path, facts.st_size, facts.st_mtime))
        return found, False

    def _parent(self, path: str, *, create: bool) -> tuple[int, str]:
        *folders, name = _parts(path)
        handle = os.open(self._root, _FOLDER)
        for folder in folders:
            try:
                if create:
                    _make_folder(folder, handle)
                deeper = os.open(folder, _FOLDER, dir_fd=handle)
            finally:
                os.close(handle)
            handle = deeper
        return handle, name


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise Refused("bad_path", f"{path!r} is not a relative path inside the workspace")
    return parts


def _make_folder(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return


def _must_be_regular(handle: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise Refused("not_a_file", f"{path!r} is not a regular file")


def _write_all(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _exists(name: str, folder: int) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _plain(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

"""Read and write files of the workspace without ever following a link out of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from .globs import BadGlob, Glob

ROOT = "/workspace"
MAX_LISTING = 1024 * 1024
"""Bytes of one listing, so that it fits a frame; what is over is left off, and that is said."""
DEEPEST = 100
"""Folders within one another that are looked into."""
MAX_EDITED = 16 << 20
"""Bytes of a file before and after an edit."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Refused(Exception):
    """The path cannot be served; `code` says why in one word."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


_CODES = {
    **dict.fromkeys((errno.ENOENT,), "not_found"),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO), "not_a_file"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "no_room"),
    errno.EFBIG: "too_large",
    errno.ENAMETOOLONG: "bad_path",
}


def refusal_of(error: BaseException) -> Refused:
    """Return what the system says in the worker's words."""
    if not isinstance(error, OSError) or error.strerror is None:
        return Refused("os_error", f"{error}")
    what = f"{error.strerror}: {error.filename!r}" if error.filename is not None else error.strerror
    return Refused(_CODES.get(error.errno or 0, "os_error"), what)


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
        handle = self.open(path)
        try:
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

    def listing(self, *, skip: int = 0, pattern: str | None = None) -> tuple[list[tuple[str, int, float]], bool]:
        """Return path, size and time of change of regular files, and whether there are more; `skip` were told before.

        With a `pattern` only those whose path fits it.
        """
        found: list[tuple[str, int, float]] = []
        room = MAX_LISTING
        for path, facts in self.files(pattern):
            if skip > 0:
                skip -= 1
                continue
            plain = plainly(path)
            room -= 6 * len(plain) + 100
            if room < 0:
                return found, True
            found.append((plain, facts.st_size, facts.st_mtime))
        return found, False

    def files(self, pattern: str | None = None) -> Iterator[tuple[str, os.stat_result]]:
        """Yield path and facts of each regular file whose path fits `pattern`; no link is followed.

        Those below more than `DEEPEST` folders are left out: each folder on the way is a descriptor.
        """
        try:
            glob = None if pattern is None else Glob(pattern)
        except BadGlob as error:
            raise Refused("bad_pattern", f"{error}") from error
        for folder, folders, names, handle in os.fwalk(self._root, follow_symlinks=False):
            if folder.count("/") - self._root.count("/") >= DEEPEST:
                folders.clear()
            folders.sort()
            for name in sorted(names):
                facts = os.lstat(name, dir_fd=handle) if _exists(name, handle) else None
                if facts is None or not stat.S_ISREG(facts.st_mode):
                    continue
                path = os.path.relpath(os.path.join(folder, name), self._root)
                if glob is None or glob.fits(path):
                    yield path, facts

    def open(self, path: str) -> int:
        """Return a descriptor to read the regular file at `path` by."""
        folder, name = self._parent(path, create=False)
        try:
            handle = os.open(name, os.O_RDONLY | _FILE, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            _must_be_regular(handle, path)
        except Refused:
            os.close(handle)
            raise
        return handle

    def edit(self, path: str, old: bytes, new: bytes, *, everywhere: bool) -> int:
        """Replace `old` by `new` in the text at `path`, whole or not at all, and return how often."""
        handle = self.open(path)
        with os.fdopen(handle, "rb") as file:
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            text = file.read(MAX_EDITED + 1)
        _must_be_text(text, new, path)
        count = text.count(old) if old else 0
        if count == 0:
            raise Refused("not_found", f"the text to be replaced is not in {path!r}")
        if count > 1 and not everywhere:
            raise Refused("not_unique", f"the text to be replaced is {count} times in {path!r}")
        if max(len(text), len(text) + count * (len(new) - len(old))) > MAX_EDITED:
            raise Refused("too_large", f"{path!r} has or would have more than {MAX_EDITED} bytes")
        self._replace(path, text.replace(old, new), mode)
        return count

    def remove(self, paths: list[str]) -> int:
        """Remove files and links, and folders with all in them; return how many files went."""
        for path in paths:
            _parts(path)
        count = 0
        for path in paths:
            try:
                folder, name = self._parent(path, create=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                count += _remove(name, folder)
            finally:
                os.close(folder)
        return count

    def make_folder(self, path: str) -> int:
        """Make a folder and those above it as far as they are missing, and return a descriptor of it."""
        folder, name = self._parent(path, create=True)
        try:
            _make_folder(name, folder)
            return os.open(name, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)

    def create(self, path: str) -> int:
        """Make a file that was not there and return a descriptor to write it by."""
        folder, name = self._parent(path, create=True)
        try:
            return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=folder)
        finally:
            os.close(folder)

    def _replace(self, path: str, data: bytes, mode: int) -> None:
        folder, name = self._parent(path, create=False)
        beside = _free_name("edited")
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=folder)
            try:
                _write_all(handle, data, 0)
                os.fchmod(handle, mode)
                os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(beside, dir_fd=folder)
                raise
            finally:
                os.close(handle)
        finally:
            os.close(folder)

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


def _free_name(purpose: str) -> str:
    return f".{os.urandom(12).hex()}.{purpose}"


def _must_be_text(text: bytes, new: bytes, path: str) -> None:
    if len(text) > MAX_EDITED:
        raise Refused("too_large", f"{path!r} has more than {MAX_EDITED} bytes")
    try:
        text.decode()
        new.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_text", f"{path!r} or what is to be put there is not UTF-8") from error


def _remove(name: str, top: int) -> int:
    """Remove a file, or a folder whose own folders are moved up first: nesting costs neither descriptors nor stack."""
    try:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=top).st_mode):
            os.unlink(name, dir_fd=top)
            return 1
    except FileNotFoundError:
        return 0
    count, folders = 0, [name]
    while folders:
        next_one = folders.pop()
        os.chmod(next_one, 0o700, dir_fd=top)
        folder = os.open(next_one, _FOLDER, dir_fd=top)
        try:
            for inner in os.listdir(folder):
                if stat.S_ISDIR(os.lstat(inner, dir_fd=folder).st_mode):
                    os.chmod(inner, 0o700, dir_fd=folder)
                    folders.append(_free_name("removed"))
                    os.rename(inner, folders[-1], src_dir_fd=folder, dst_dir_fd=top)
                else:
                    os.unlink(inner, dir_fd=folder)
                    count += 1
        finally:
            os.close(folder)
        os.rmdir(next_one, dir_fd=top)
    return count


def plainly(path: str) -> str:
    """Return `path` as text that can be told, whatever bytes it is made of."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

"""Turn the workspace into a plain tar, and a tar that nobody vouches for into the workspace."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from . import wiping
from .workspace import Refused, Workspace, refusal_of

_BLOCK = 512
_PAGE = 4096
_DEEPEST = 256
_LONGEST = 4096
_LATEST = 1 << 33
_CHUNK = 1 << 18
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)
_BROKEN = (tarfile.TarError, ValueError, OverflowError, RecursionError, IndexError, KeyError, EOFError)


class _Bounded:
    """A stream that refuses to grow over `limit`, once; what comes after that goes nowhere."""

    def __init__(self, say: Callable[[bytes], None], limit: int) -> None:
        self._say, self._room = say, limit

    def write(self, data: bytes) -> int:
        if self._room < 0:
            return len(data)
        self._room -= len(data)
        if self._room < 0:
            raise Refused("too_large", "the archive is over the limit")
        self._say(data)
        return len(data)


def pack(root: str, limit: int, say: Callable[[bytes], None]) -> None:
    """Say a tar of the regular files and folders below `root`, in the order of their paths."""
    entries = sorted(_entries(root))
    if sum(facts.st_size for _, facts in entries if stat.S_ISREG(facts.st_mode)) > limit:
        raise Refused("too_large", f"the workspace holds more than {limit} bytes")
    workspace = Workspace(root)
    out: Any = _Bounded(say, limit)
    with tarfile.open(mode="w|", fileobj=out, format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as tar:
        for path, facts in entries:
            member = tarfile.TarInfo(path)
            member.mode, member.mtime = stat.S_IMODE(facts.st_mode) & 0o777, int(facts.st_mtime)
            if stat.S_ISDIR(facts.st_mode):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
                continue
            with os.fdopen(workspace.open(path), "rb") as file:
                member.size = os.fstat(file.fileno()).st_size
                tar.addfile(member, file)


def unpack(archive: int, root: str) -> None:
    """Check the tar behind the descriptor `archive` as a whole, then put its files in the place of all below `root`."""
    with os.fdopen(archive, "rb", closefd=False) as file:
        tar, members = _checked(file, root)
        wiping.empty(root)
        if os.listdir(root):
            raise Refused("os_error", "what was in the workspace cannot be removed")
        workspace = Workspace(root)
        for path, member in members:
            if member.isdir():
                os.close(workspace.make_folder(path))
            else:
                _extract(cast(BinaryIO, tar.extractfile(member)), workspace.create(path), member)
        for path, member in sorted(members, key=lambda entry: entry[0], reverse=True):
            if member.isdir():
                folder = workspace.make_folder(path)
                os.fchmod(folder, member.mode & 0o777 | 0o700)
                _date(folder, member)
                os.close(folder)


def _extract(source: BinaryIO, handle: int, member: tarfile.TarInfo) -> None:
    with os.fdopen(handle, "wb") as file:
        while data := source.read(_CHUNK):
            file.write(data)
        file.flush()
        os.fchmod(handle, member.mode & 0o777 | 0o600)
        _date(handle, member)


def _date(handle: int, member: tarfile.TarInfo) -> None:
    changed_at = member.mtime if 0 <= member.mtime < _LATEST else 0
    os.utime(handle, (changed_at, changed_at))


def _checked(file: BinaryIO, root: str) -> tuple[tarfile.TarFile, list[tuple[str, tarfile.TarInfo]]]:
    """Return the archive and its members by path.

    Raises:
        Refused: there is anything in it but regular files and folders that fit below `root`.
    """
    total = os.fstat(file.fileno()).st_size
    try:
        tar = tarfile.open(mode="r:", fileobj=file)  # noqa: SIM115 - its file is the caller's
        members = _members(tar, _Tree(root), total)
        file.seek(tar.offset)
        rest = file.read(_BLOCK)
        if len(rest) < _BLOCK or any(rest) or any(map(any, iter(lambda: file.read(_CHUNK), b""))):
            raise Refused("bad_archive", "the archive does not end as a tar does")
    except _BROKEN as error:
        raise Refused("bad_archive", f"no plain tar: {error}") from error
    except OSError as error:
        raise refusal_of(error) from error
    return tar, members


def _members(tar: tarfile.TarFile, tree: _Tree, total: int) -> list[tuple[str, tarfile.TarInfo]]:
    members: list[tuple[str, tarfile.TarInfo]] = []
    for member in tar:
        holes = member.issparse() or any(key.startswith("GNU.sparse") for key in member.pax_headers)
        if member.type not in _PLAIN or holes:
            raise Refused("bad_archive", f"{member.name!r} is neither a plain file nor a folder")
        if member.size < 0 or member.offset_data + member.size > total:
            raise Refused("bad_archive", f"{member.name!r} is not all there")
        path = member.name
        while path.startswith("./"):
            path = path[2:]
        if path in ("", ".") and member.isdir():
            continue
        tree.add(path, member)
        members.append((path, member))
    return members


class _Tree:
    """The paths of an archive, and the room they need of what there will be once the workspace is empty."""

    def __init__(self, root: str) -> None:
        self._kinds: dict[str, bool] = {}
        facts = os.statvfs(root)
        held = {(entry.st_dev, entry.st_ino): entry.st_blocks * 512 for _, entry in _entries(root, plain=False)}
        self._bytes = facts.f_bavail * facts.f_frsize + sum(held.values())
        self._entries = facts.f_favail + len(held) if facts.f_files else 1 << 20

    def add(self, path: str, member: tarfile.TarInfo) -> None:
        """Take one more in."""
        parts = path.split("/")
        bad = any(part in ("", ".", "..") or len(os.fsencode(part)) > 255 for part in parts)
        if bad or "\0" in path or len(path) > _LONGEST or len(parts) > _DEEPEST:
            raise Refused("bad_archive", f"{path[:100]!r} is not a relative path inside the workspace")
        for depth in range(1, len(parts)):
            self._note("/".join(parts[:depth]), is_folder=True)
        self._note(path, is_folder=member.isdir())
        self._bytes -= -(-member.size // _PAGE) * _PAGE
        if self._bytes < 0 or len(self._kinds) > self._entries:
            raise Refused("too_large", "the archive holds more than the workspace has room for")

    def _note(self, path: str, *, is_folder: bool) -> None:
        known = self._kinds.get(path)
        if known is not None and not (known and is_folder):
            raise Refused("bad_archive", f"{path[:100]!r} is there twice, or is a file and a folder")
        self._kinds[path] = is_folder


def _entries(root: str, *, plain: bool = True) -> list[tuple[str, os.stat_result]]:
    """Return path and facts of all below `root`; with `plain` of regular files and folders alone."""
    found: list[tuple[str, os.stat_result]] = []
    for folder, folders, names, handle in os.fwalk(root, follow_symlinks=False):
        for name in folders + names:
            facts = os.lstat(name, dir_fd=handle)
            if not plain or stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode):
                found.append((os.path.relpath(os.path.join(folder, name), root), facts))
    return found

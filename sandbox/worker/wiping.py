"""Take away what a run left outside of the workspace: shared memory, queues, semaphores, and temporary files."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import stat
from collections.abc import Callable

TEMPORARY, SHARED = "/tmp", "/dev/shm"  # noqa: S108 - the cell's own
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NUMBERS = itertools.count()
_REMOVE = 0
_LIBC = ctypes.CDLL(None, use_errno=True)
_REMOVERS: dict[str, Callable[[int], int]] = {
    "shm": lambda id: _LIBC.shmctl(id, _REMOVE, None),
    "msg": lambda id: _LIBC.msgctl(id, _REMOVE, None),
    "sem": lambda id: _LIBC.semctl(id, 0, _REMOVE),
}
_TABLE = 65536


def wipe(*, temporary: bool) -> None:
    """Remove it, temporary files only if asked to; what cannot be removed is nobody else's business in this cell."""
    empty(SHARED)
    if temporary:
        empty(TEMPORARY)
    for table, remove in _REMOVERS.items():
        for id in _ids(table):
            remove(id)


def is_full(folder: str) -> bool:
    """Return whether there is no room left below `folder`, for bytes or for files."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail == 0 or (room.f_files > 0 and room.f_ffree == 0)


def used(folder: str) -> tuple[int, int]:
    """Return bytes and files that the file system of `folder` holds."""
    room = os.statvfs(folder)
    return (room.f_blocks - room.f_bfree) * room.f_frsize, room.f_files - room.f_ffree - 1


def holds(folder: str) -> bool:
    """Return whether anything is in `folder`, which its owner may have shut."""
    try:
        return bool(os.listdir(folder))
    except OSError:
        return True


def empty(folder: str) -> None:
    """Remove all below `folder` that can be removed, and open it again where its owner has shut it."""
    try:
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            os.chmod(folder, 0o1777)  # noqa: S103 - as it was made
        top = os.open(folder, _DIRECTORY)
    except OSError:
        return
    try:
        left = os.listdir(top)
        while left:
            for name in left:
                _remove_entry(name, top)
            before, left = set(left), os.listdir(top)
            if set(left) == before:
                return
    finally:
        os.close(top)


def _remove_entry(name: str, top: int) -> None:
    """Remove a file, or a folder whose own folders are moved up first: nesting costs neither descriptors nor stack."""
    try:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=top).st_mode):
            os.unlink(name, dir_fd=top)
            return
        os.chmod(name, 0o700, dir_fd=top)
        folder = os.open(name, _DIRECTORY, dir_fd=top)
        try:
            for inner in os.listdir(folder):
                if stat.S_ISDIR(os.lstat(inner, dir_fd=folder).st_mode):
                    os.chmod(inner, 0o700, dir_fd=folder)
                    os.rename(inner, f"{next(_NUMBERS)}.wiped", src_dir_fd=folder, dst_dir_fd=top)
                else:
                    os.unlink(inner, dir_fd=folder)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)
    except OSError:
        return


def _ids(table: str) -> list[int]:
    """Return the ids of System V objects. Source: proc(5), /proc/sysvipc."""
    lines = _lines(table)
    return [int(line.split()[1]) for line in lines[1:]]


def _lines(table: str) -> list[bytes]:
    held = _table(table)
    if held is None:
        return []
    text, more = b"", True
    while more:
        more = os.pread(held, _TABLE, len(text))
        text += more
    return text.splitlines()


@functools.cache
def _table(name: str) -> int | None:
    """Return a descriptor of the table, held from then on; None where the kernel has none."""
    try:
        return os.open(f"/proc/sysvipc/{name}", os.O_RDONLY)
    except OSError:
        return None

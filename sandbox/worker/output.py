"""What a run left in the output folder of the workspace."""

from __future__ import annotations

import contextlib
import os
import stat

FOLDER = "output"
_MOST = 32
"""Files that are told of one run; more are counted."""
_LOOK = 1024
"""Files that are looked at."""

Seen = dict[str, tuple[int, int, int]]


def make(root: str) -> None:
    """Make the output folder, unless something of its name is there or there is no room."""
    with contextlib.suppress(OSError):
        os.mkdir(os.path.join(root, FOLDER))


def seen(root: str) -> Seen:
    """Return inode, size and time of change of each regular file in the output folder, by path; no link is followed."""
    found: Seen = {}
    top = os.path.join(root, FOLDER)
    if os.path.islink(top) or not _holds_anything(top):
        return found
    for folder, folders, names, handle in os.fwalk(top, follow_symlinks=False):
        folders.sort()
        for name in sorted(names):
            try:
                facts = os.lstat(name, dir_fd=handle)
            except OSError:
                continue
            if stat.S_ISREG(facts.st_mode):
                path = os.path.relpath(os.path.join(folder, name), root)
                found[path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")] = (
                    facts.st_ino,
                    facts.st_size,
                    facts.st_mtime_ns,
                )
            if len(found) >= _LOOK:
                return found
    return found


def _holds_anything(folder: str) -> bool:
    """Return whether there is anything to be walked through; most runs leave nothing, and walking is not free."""
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def changed(before: Seen, after: Seen) -> tuple[list[tuple[str, int]], int]:
    """Return path and size of the files that are new or changed, by path, and how many more there are."""
    new = sorted((path, facts[1]) for path, facts in after.items() if before.get(path) != facts)
    return new[:_MOST], max(0, len(new) - _MOST)

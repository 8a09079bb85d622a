"""Tell whether memory ran out: the cgroup's own counter, and a watch where there is no cgroup."""

from __future__ import annotations

import functools
import os
import re

_KILLS = re.compile(rb"^oom_kill (\d+)", re.MULTILINE)
_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_MOST = 4096
"""Bytes of such a file."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def kills_so_far() -> int:
    """Return how many processes of this cgroup the kernel has killed for want of memory; 0 where nothing counts."""
    counter = _counter()
    return _count(os.pread(counter, _MOST, 0)) or 0 if counter is not None else 0


@functools.cache
def _counter() -> int | None:
    """Return a descriptor of the file that counts, held from then on."""
    for path in _COUNTERS:
        try:
            counter = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        if _count(os.pread(counter, _MOST, 0)) is not None:
            return counter
        os.close(counter)
    return None


def _count(text: bytes) -> int | None:
    found = _KILLS.search(text)
    return int(found.group(1)) if found else None


def over_limit(limit_bytes: int, *, but: int | None = None) -> bool:
    """Return whether all processes but this one and `but` hold more than `limit_bytes` together."""
    spared = (os.getpid(), but)
    others = [entry for entry in os.listdir("/proc") if entry.isdigit() and int(entry) not in spared]
    if sum(_resident(pid) for pid in others) <= limit_bytes:
        return False
    return sum(_proportional(pid) for pid in others) > limit_bytes


def _resident(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/statm") as table:
            return int(table.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as table:
            found = re.search(r"^Pss:\s+(\d+) kB", table.read(), re.MULTILINE)
    except OSError:
        return _resident(pid)
    return int(found.group(1)) * 1024 if found else 0

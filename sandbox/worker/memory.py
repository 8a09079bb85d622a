"""Tell whether memory ran out: the cgroup's own counter, and a watch where there is no cgroup."""

from __future__ import annotations

import _thread
import functools
import os
import re

_KILLS = re.compile(rb"^oom_kill (\d+)", re.MULTILINE)
_SHARE = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_MOST = 4096
"""Bytes of such a file."""
_READS_WITHIN_S = 0.005
"""How long the worker waits for what is read: it is there by then unless there are many processes."""
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


class Scales:
    """Weighs what all processes but this one and `but` hold together, without waiting for any of them.

    What pages they share is told under a lock that a process holds while it forks, and among a hundred one has it and
    no processor: a thread of its own does that reading, so that the worker hears of a deadline meanwhile.
    """

    def __init__(self, limit_bytes: int, *, but: int | None) -> None:
        self._limit_bytes = limit_bytes
        self._spared = (os.getpid(), but)
        self._reading = _thread.allocate_lock()
        self._over = False

    def over_limit(self) -> bool:
        """Return whether they hold more than the limit, as far as that is known by now."""
        if not self._over and not self._reading.locked():
            others = [entry for entry in os.listdir("/proc") if entry.isdigit() and int(entry) not in self._spared]
            if sum(_resident(pid) for pid in others) > self._limit_bytes:
                self._reading.acquire()
                _thread.start_new_thread(self._read, (others,))
                self._wait(_READS_WITHIN_S)
        return self._over

    def settle(self) -> None:
        """Return when nothing is being read; a process must not be forked before."""
        self._wait(-1)

    def _wait(self, within_s: float) -> None:
        if self._reading.acquire(timeout=within_s):
            self._reading.release()

    def _read(self, others: list[str]) -> None:
        try:
            sum_bytes = 0
            for pid in others:
                sum_bytes += _proportional(pid)
                if sum_bytes > self._limit_bytes:
                    self._over = True
                    return
        finally:
            self._reading.release()


def _resident(pid: str) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else 0


def _proportional(pid: str) -> int:
    found = _SHARE.search(_read(f"/proc/{pid}/smaps_rollup"))
    return int(found.group(1)) * 1024 if found else _resident(pid)


def _read(path: str) -> bytes:
    try:
        table = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(table, _MOST)
    except OSError:
        return b""
    finally:
        os.close(table)

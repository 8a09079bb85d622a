"""Watch what the processes of one run use together, where the kernel keeps no limit for it."""

from __future__ import annotations

import os
import time
from typing import Any

from . import wiping
from .children import Reaped, processes, stat_of
from .crowding import Crowd
from .memory import Scales

_EVERY_S, _FIRST_S, _SELDOM_S = 0.025, 0.25, 0.1
"""A run without limits of its own is looked at every 25 ms at first, when a bomb goes off, and less often later."""
_TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """The limits of one run that somebody has to look after."""

    def __init__(self, limits: dict[str, Any], folder: str, *, run: int, but: int | None) -> None:
        """Processes that are there already, `but` among them, count for nothing they have used before."""
        memory: int | None = limits.get("memory_watch_bytes")
        self._scales = Scales(memory, but=but if but != run else None) if memory else None
        self._crowd = Crowd(run, limits.get("processors"))
        self._run = run
        self._wanted: dict[str, float] = limits.get("watch", {})
        self._folder = folder
        self._but = but
        self._seldom_from = time.monotonic() + _FIRST_S
        self._look_at = time.monotonic() + _EVERY_S

    def wake_at(self, otherwise: float) -> float:
        """Return when to look next."""
        looks = self._scales or self._wanted or self._crowd.possible
        return min(otherwise, self._look_at) if looks else otherwise

    def settle(self) -> None:
        """Return when nothing is being looked at any more, and what is left is as it was."""
        if self._scales:
            self._scales.settle()
        self._crowd.release()

    def look(self, reaped: Reaped, cpu_before_s: float) -> str | None:
        """Return the limit that the run is over, if it is time to look."""
        now = time.monotonic()
        if now < self._look_at:
            return None
        seldom = now >= self._seldom_from and not (self._scales or self._wanted)
        self._look_at = now + (_SELDOM_S if seldom else _EVERY_S)
        self._crowd.look()
        if self._scales and self._scales.over_limit():
            return "out_of_memory"
        return self._over(reaped, cpu_before_s)

    def _over(self, reaped: Reaped, cpu_before_s: float) -> str | None:
        if "cpu_s" in self._wanted or "processes" in self._wanted:
            others = [stat_of(pid) for pid in processes() if pid == self._run or pid != self._but]
            spent = sum(cpu_of(fields) for fields in others) + reaped.cpu_s - cpu_before_s
            if spent > self._wanted.get("cpu_s", spent):
                return "cpu_s"
            threads = sum(int(fields[17]) for fields in others if fields)
            if threads > self._wanted.get("processes", threads):
                return "processes"
        return self.over_disk()

    def over_disk(self) -> str | None:
        """Return the limit of the workspace that is exceeded."""
        if "disk_bytes" in self._wanted or "files" in self._wanted:
            size, files = wiping.used(self._folder)
            if size > self._wanted.get("disk_bytes", size):
                return "disk_bytes"
            if files > self._wanted.get("files", files):
                return "files"
        return None


def cpu_of(fields: list[str]) -> float:
    """Return the CPU seconds of a process and of its children that it has waited for."""
    return sum(map(int, fields[11:15])) / _TICKS if fields else 0.0

"""One run: pass its output on as it comes, watch its limits, and tell how it ended."""

from __future__ import annotations

import marshal
import os
import time
from collections.abc import Callable
from typing import Any

from . import memory, output, wiping
from .capture import Capture
from .children import Child, Ended, Reaped, end_everything, stat_of
from .frames import Header
from .own_file import OwnFile
from .program import LASTING, SCRIPT
from .watching import Watch, cpu_of

Send = Callable[..., None]

_CHUNK = 65536
_GATHER_S = 0.01
"""How long output waits for more, so that a short program's travels with its end."""
_GATHER_BYTES = 65536
_COUNT_S, _MANY_DEAD = 0.01, 16
"""Where more processes than that end in such a time, the next are collected after it."""


class Run:
    """A program from its start to the last byte of its output."""

    def __init__(
        self,
        child: Child,
        request: Header,
        source: bytes,
        send: Send,
        *,
        root: str,
        lasting: int | None,
        waiting: int | None,
        keeps_temporary: bool,
    ) -> None:
        """`lasting` is the lasting interpreter's process, if there is one; the child itself, in a stateful run.

        `waiting` is the child of the next run, which has seen nothing foreign yet; None if it has become this run.
        """
        self._keeps_temporary = keeps_temporary
        self.clears_temporary = False
        self.child, self._send, self._root, self._lasting = child, send, root, lasting
        self._waiting = waiting
        self.lasts = request["kind"] == LASTING
        self._variables: str | None = request.get("variables")
        self._limits: dict[str, Any] = request["limits"]
        self._nonce = request["nonce"]
        self._ended: Ended | None = None
        self._why: str | None = None
        self._memory_kills = memory.kills_so_far()
        self._watch = Watch(self._limits, root, run=child.pid, but=lasting)
        self._reaped = Reaped()
        self._dead, self._count_until = 0, 0.0
        self._said: int | None = None
        self._cpu_before_s = cpu_of(stat_of(child.pid)) if lasting == child.pid else 0.0
        self._output = output.seen(root)
        self._own_file = OwnFile(root, source) if request["kind"] == SCRIPT else None
        self._streams = {
            child.stdout: ("stdout", Capture(self._limits["output_bytes"])),
            child.stderr: ("stderr", Capture(self._limits["output_bytes"])),
        }
        self._open = set(self._streams)
        self._gathered: list[tuple[str, bytes]] = []
        self._tell_at = float("inf")
        self._started = time.monotonic()
        self._deadline = self._started + self._limits["wall_s"]
        order = {"limits": self._limits, "kind": request["kind"], "source": source.decode("utf-8", "surrogateescape")}
        child.give(marshal.dumps(order), lasts=self.lasts)
        if self.lasts:
            self._open.add(child.done)

    @property
    def hears_of_ends(self) -> bool:
        """Whether the worker is to wake up when a process ends."""
        return self._dead < _MANY_DEAD or time.monotonic() >= self._count_until

    def descriptors(self) -> set[int]:
        """Return the descriptors to be read from while this run lasts."""
        return self._open

    def seconds_left(self) -> float:
        """Return how long the worker may sleep before this run needs it again."""
        hears_at = float("inf") if self.hears_of_ends else self._count_until
        return max(0.0, min(self._watch.wake_at(self._deadline), self._tell_at, hears_at) - time.monotonic())

    def pump(self, descriptor: int) -> bool:
        """Take in what is there to be read, once; return whether there was anything."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._open.discard(descriptor)
            return False
        if self.lasts and descriptor == self.child.done:
            self._said = data[0]
            return True
        name, capture = self._streams[descriptor]
        now = capture.take(data)
        if now:
            self._gather(name, now)
        return True

    def look(self) -> bool:
        """Collect the dead, tell what was gathered, and enforce the limits; return whether the run is over."""
        self._collect()
        if time.monotonic() >= self._tell_at:
            self._tell()
        self._ended = self._reaped.ended(self.child.pid)
        if self._ended is None and self._said is None and self._why is None:
            over = self._watch.look(self._reaped, self._cpu_before_s)
            self._why = "timed_out" if time.monotonic() >= self._deadline else over
        return self._ended is not None or self._said is not None or self._why is not None

    def cancel(self) -> None:
        """End this run before its time."""
        self._why = "cancelled"

    def finish(self) -> None:
        """End every process of the run, pass the rest of the output on, and say how it went."""
        duration = time.monotonic() - self._started
        spent = cpu_of(stat_of(self.child.pid)) if self.lasts else 0.0
        end_everything(self._reaped, but=self._spared())
        self._watch.settle()
        if self._own_file is not None:
            self._own_file.remove()
        ended = self._reaped.ended(self.child.pid)
        self._drain()
        self._tell()
        for name, capture in self._streams.values():
            tail = capture.tail()
            if tail:
                self._send({"nonce": self._nonce, "event": "tail", "stream": name}, tail)
        if not self.goes_on:
            self.child.close()
        verdict = self._verdict(ended, duration)
        verdict["cpu_s"] = max(0.0, self._reaped.cpu_s + (spent if ended is None else 0.0) - self._cpu_before_s)
        self._send(verdict)

    @property
    def goes_on(self) -> bool:
        """Whether the run's process is the lasting interpreter and is there to run another program."""
        return self.lasts and self._said is not None and self._ended is None and self._why is None

    def _spared(self) -> frozenset[int]:
        """Return the lasting interpreter, unless it is what has to be ended, and the next child besides it."""
        if self._lasting is None or (self._lasting == self.child.pid and not self.goes_on):
            return frozenset()
        return frozenset({self._lasting} | ({self._waiting} if self._waiting is not None else set()))

    @property
    def spares_waiting(self) -> bool:
        """Whether the child of the next run is still there after this one."""
        return self._waiting in self._spared()

    def _collect(self) -> None:
        """Collect the dead, and count them: a bomb whose processes end keeps the worker from everything else."""
        now = time.monotonic()
        if now >= self._count_until:
            self._count_until, self._dead = now + _COUNT_S, 0
        self._dead += self._reaped.collect()

    def _gather(self, name: str, data: bytes) -> None:
        """Keep `data` back for a moment; order among the streams stays."""
        if not self._gathered:
            self._tell_at = time.monotonic() + _GATHER_S
        elif self._gathered[-1][0] == name:
            data = self._gathered.pop()[1] + data
        self._gathered.append((name, data))
        if len(data) >= _GATHER_BYTES:
            self._tell()

    def _tell(self) -> None:
        """Pass on what was gathered."""
        gathered, self._gathered, self._tell_at = self._gathered, [], float("inf")
        for name, data in gathered:
            self._send({"nonce": self._nonce, "event": "output", "stream": name}, data)

    def _drain(self) -> None:
        for descriptor in self._streams:
            while descriptor in self._open and self.pump(descriptor):
                pass

    def _clears(self) -> bool:
        """Return whether the next run finds no temporary files; the lasting interpreter may need them."""
        spoilt = self._why is not None or not self._keeps_temporary or wiping.is_full(wiping.TEMPORARY)
        return spoilt and not self._spared()

    def _verdict(self, ended: Ended | None, duration: float) -> Header:
        over = self._why if self._why in ("cpu_s", "processes", "disk_bytes", "files") else self._watch.over_disk()
        artifacts, left_out = output.changed(self._output, output.seen(self._root))
        places = (self._root, wiping.TEMPORARY, wiping.SHARED)
        self.clears_temporary = self._clears()
        return {
            "nonce": self._nonce,
            "event": "done",
            "over": over,
            "disk_full": any(map(wiping.is_full, places)),
            "temporary_lost": self.clears_temporary and self._keeps_temporary and wiping.holds(wiping.TEMPORARY),
            "artifacts": artifacts,
            "artifacts_left_out": left_out,
            "variables": self._variables,
            "exit_code": self._said if ended is None else ended.exit_code,
            "signal": ended.signal if ended else None,
            "timed_out": self._why == "timed_out",
            "cancelled": self._why == "cancelled",
            "out_of_memory": self._why == "out_of_memory" or memory.kills_so_far() > self._memory_kills,
            "duration_s": duration,
            "dropped": {name: capture.dropped for name, capture in self._streams.values()},
        }

"""One run: pass its output on as it comes, watch its limits, and tell how it ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from . import memory
from .capture import Capture
from .children import Child, Ended, end_everything, reap
from .frames import Header

Send = Callable[..., None]

_CHUNK = 65536
_WATCH_EVERY_S = 0.025


class Run:
    """A program from its start to the last byte of its output."""

    def __init__(self, child: Child, request: Header, source: bytes, send: Send) -> None:
        self._child, self._send = child, send
        self._limits: dict[str, Any] = request["limits"]
        self._nonce = request["nonce"]
        self._ended: Ended | None = None
        self._why: str | None = None
        self._memory_kills = memory.kills_so_far()
        self._watched = self._limits.get("memory_watch_bytes")
        self._watch_at = 0.0
        self._streams = {
            child.stdout: ("stdout", Capture(self._limits["output_bytes"])),
            child.stderr: ("stderr", Capture(self._limits["output_bytes"])),
        }
        self._open = set(self._streams)
        self._started = time.monotonic()
        self._deadline = self._started + self._limits["wall_s"]
        order = {"limits": self._limits, "kind": request["kind"], "source": source.decode("utf-8", "surrogateescape")}
        child.give(json.dumps(order).encode())

    def descriptors(self) -> set[int]:
        """Return the descriptors to be read from while this run lasts."""
        return self._open

    def seconds_left(self) -> float:
        """Return how long the worker may sleep before this run needs it again."""
        wake_at = min(self._deadline, self._watch_at) if self._watched else self._deadline
        return max(0.0, wake_at - time.monotonic())

    def pump(self, descriptor: int) -> bool:
        """Take in what is there to be read, once; return whether there was anything."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._open.discard(descriptor)
            return False
        name, capture = self._streams[descriptor]
        now = capture.take(data)
        if now:
            self._send({"nonce": self._nonce, "event": "output", "stream": name}, now)
        return True

    def look(self) -> bool:
        """Collect the dead and enforce the limits; return whether the run is over."""
        self._ended = reap(self._child.pid) or self._ended
        now = time.monotonic()
        if self._ended is None and now >= self._deadline:
            self._why = "timed_out"
        elif self._ended is None and self._watched and now >= self._watch_at:
            self._watch_at = now + _WATCH_EVERY_S
            if memory.over_limit(self._watched):
                self._why = "out_of_memory"
        return self._ended is not None or self._why is not None

    def cancel(self) -> None:
        """End this run before its time."""
        self._why = "cancelled"

    def finish(self) -> None:
        """End every process of the run, pass the rest of the output on, and say how it went."""
        duration = time.monotonic() - self._started
        ended = end_everything(self._child.pid) or self._ended
        self._drain()
        for name, capture in self._streams.values():
            tail = capture.tail()
            if tail:
                self._send({"nonce": self._nonce, "event": "tail", "stream": name}, tail)
        self._child.close()
        self._send(self._verdict(ended, duration))

    def _drain(self) -> None:
        for descriptor in self._streams:
            while descriptor in self._open and self.pump(descriptor):
                pass

    def _verdict(self, ended: Ended | None, duration: float) -> Header:
        return {
            "nonce": self._nonce,
            "event": "done",
            "exit_code": ended.exit_code if ended else None,
            "signal": ended.signal if ended else None,
            "cpu_s": ended.cpu_s if ended else 0.0,
            "timed_out": self._why == "timed_out",
            "cancelled": self._why == "cancelled",
            "out_of_memory": self._why == "out_of_memory" or memory.kills_so_far() > self._memory_kills,
            "duration_s": duration,
            "dropped": {name: capture.dropped for name, capture in self._streams.values()},
        }

"""Keep the first and the last part of a stream and count what lay between."""

from __future__ import annotations

from collections import deque


class Capture:
    """Bounds one output stream: `limit` bytes are kept, half from its start and half from its end."""

    def __init__(self, limit: int) -> None:
        self._head_room = limit - limit // 2
        self._tail_limit = limit // 2
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.dropped = 0

    def take(self, data: bytes) -> bytes:
        """Take `data` in and return the part of it that belongs to the start, to be passed on now."""
        now = data[: self._head_room]
        self._head_room -= len(now)
        if len(now) < len(data):
            self._keep_late(data[len(now) :])
        return now

    def tail(self) -> bytes:
        """Return the last part: all that came after the start, less what `dropped` counts."""
        return b"".join(self._tail)

    def _keep_late(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size > self._tail_limit:
            self._drop(self._tail_size - self._tail_limit)

    def _drop(self, excess: int) -> None:
        oldest = self._tail.popleft()
        cut = min(excess, len(oldest))
        if cut < len(oldest):
            self._tail.appendleft(oldest[cut:])
        self._tail_size -= cut
        self.dropped += cut

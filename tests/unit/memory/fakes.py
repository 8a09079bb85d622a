"""Logs held in memory, which keep the port's word and can be made to fail."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from natscope.contracts.errors import BusUnavailable
from services.memory.hubs import Hubs
from services.memory.log import PAGE, Entry, Moved, Page
from services.memory.memory import Memory
from services.memory.sessions import Sessions


class FakeLog:
    """One log. Every call gives way to others first, so that callers interleave."""

    def __init__(
        self, *, clock: Iterator[int] | None = None, page_entries: int = 1_000, latest_only: bool = False
    ) -> None:
        self.entries: list[Entry] = []
        self.reads = 0
        self.given = 0
        """Entries that were handed out."""
        self.writes = 0
        self.down = False
        self.lose_next_acknowledgement = False
        self._clock = clock or itertools.count(1)
        self._page_entries = page_entries
        self._latest_only = latest_only
        self._sequence = 0

    async def page(self, pattern: str, *, after: int = 0, limit: int = PAGE) -> Page:
        await self._reach()
        self.reads += 1
        found = [entry for entry in self.entries if entry.sequence > after and _matches(entry.key, pattern)]
        page = Page(found[: min(limit, self._page_entries)], max(len(found) - min(limit, self._page_entries), 0))
        self.given += len(page.entries)
        return page

    async def add(self, key: str, data: bytes, *, expect: int) -> int:
        await self._reach()
        self.writes += 1
        if max((entry.sequence for entry in self.entries if entry.key == key), default=0) != expect:
            raise Moved(key)
        sequence = self.put(key, data)
        if self.lose_next_acknowledgement:
            self.lose_next_acknowledgement = False
            raise BusUnavailable("the acknowledgement was lost")
        return sequence

    async def end(self) -> int:
        await self._reach()
        return self._sequence

    async def forget(self, pattern: str) -> int:
        await self._reach()
        kept = [entry for entry in self.entries if not _matches(entry.key, pattern)]
        gone = len(self.entries) - len(kept)
        self.entries = kept
        return gone

    def put(self, key: str, data: bytes) -> int:
        """Write past every check, as somebody with `nats pub` does."""
        self._sequence += 1
        if self._latest_only:
            self.entries = [entry for entry in self.entries if entry.key != key]
        self.entries.append(Entry(key, self._sequence, next(self._clock), data))
        return self._sequence

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise BusUnavailable("no answer")


def _matches(key: str, pattern: str) -> bool:
    tokens, wanted = key.split("."), pattern.split(".")
    return len(tokens) == len(wanted) and all(w in ("*", t) for t, w in zip(tokens, wanted, strict=True))


@dataclass
class Written:
    """What all replicas share: three logs under one clock."""

    clock: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    sessions: FakeLog = field(init=False)
    members: FakeLog = field(init=False)
    said: FakeLog = field(init=False)

    def __post_init__(self) -> None:
        self.sessions, self.said = FakeLog(clock=self.clock), FakeLog(clock=self.clock)
        self.members = FakeLog(clock=self.clock, latest_only=True)

    def replica(self) -> Memory:
        """Return a process that knows nothing yet."""
        return Memory(Sessions(self.sessions), Hubs(self.members, self.said))

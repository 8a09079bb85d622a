"""The port to what is written down: logs that are read in order and written to by whoever knows their end."""

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

PAGE = 256
"""Entries that are read at once."""
FIRST_PAGE = 64
"""Entries that are read at least, before it is known how many there are."""


class Entry(NamedTuple):
    """One entry of a log. Sequences and times rise together within a log."""

    key: str
    sequence: int
    at_ns: int
    """The server's clock, in nanoseconds since 1970."""
    data: bytes


class Page(NamedTuple):
    """Entries, oldest first, and how many came after them."""

    entries: list[Entry]
    pending: int

    @property
    def total(self) -> int:
        """How many entries there are from the page's first on."""
        return len(self.entries) + self.pending


class Moved(Exception):
    """Somebody else wrote to the key meanwhile; nothing was written."""


class Log(Protocol):
    """One log with many keys. `key` may hold `*` for one token where it says pattern."""

    async def page(self, pattern: str, *, after: int = 0, limit: int = PAGE) -> Page:
        """Return the first entries behind the sequence `after`: at most `limit`, fewer if they are large.

        Raises:
            BusUnavailable: the log cannot be read now.
        """
        ...

    async def add(self, key: str, data: bytes, *, expect: int) -> int:
        """Write an entry if the key's last sequence is `expect` (0: it has none) and return its sequence.

        Raises:
            Moved: it is not.
            BusUnavailable, Overloaded: it is not known whether the entry was written, or it was not.
        """
        ...

    async def end(self) -> int:
        """Return the last sequence of the whole log."""
        ...

    async def forget(self, pattern: str) -> int:
        """Remove entries and return how many there were."""
        ...


async def pages(log: Log, pattern: str, *, after: int = 0) -> AsyncIterator[Page]:
    """Give page after page, up to the end."""
    while True:
        page = await log.page(pattern, after=after)
        yield page
        if not page.pending or not page.entries:
            return
        after = page.entries[-1].sequence


async def newest(
    log: Log, pattern: str, *, wanted: int | None, after: int = 0, upto: int | None = None
) -> tuple[list[Entry], int]:
    """Return the newest entries in (`after`, `upto`], oldest first, and how many older ones there are.

    They are at least `wanted`, or all there are; None wants all. A long log is not read whole: where the newest ones
    begin is found by halving.
    """
    page = await log.page(pattern, after=after, limit=PAGE if wanted is None else max(wanted, FIRST_PAGE))
    found = list(page.entries)
    older = 0
    if page.pending and found and (upto is None or found[-1].sequence < upto):
        start, behind = found[-1].sequence, page.pending
        if wanted is not None and page.pending > wanted:
            start, behind = await _start(log, pattern, start, behind, wanted, upto)
        if start > found[-1].sequence:
            found, older = [], page.total - behind
        async for more in pages(log, pattern, after=start):
            found += more.entries
            if upto is not None and found and found[-1].sequence >= upto:
                break
    return [entry for entry in found if upto is None or entry.sequence <= upto], older


async def _start(log: Log, pattern: str, low: int, behind_low: int, wanted: int, upto: int | None) -> tuple[int, int]:
    """Return a sequence behind which at least `wanted` entries are, but not many more, and how many they are."""
    least = max(wanted, 1)
    if upto is not None:
        least += (await log.page(pattern, after=upto, limit=1)).total
    high = await log.end() if upto is None else upto
    while high - low > 1 and behind_low > least + wanted:
        middle = (low + high) // 2
        page = await log.page(pattern, after=middle, limit=1)
        if page.total >= least:
            low, behind_low = page.entries[0].sequence - 1, page.total
        else:
            high = middle
    return low, behind_low

"""Reading logs backwards, until there is enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from natscope.contracts.message import Message
from services.memory.log import Entry, Log, newest

FIRST_READ = 16
"""Entries read at least where only bytes can be guessed."""
ENTRY_BYTES = 2_000
"""A usual entry, for a first guess."""


class Heard(NamedTuple):
    """One message as it stands in a log."""

    message: Message
    at_ns: int
    before: int | None = None
    """How many messages of the log came before it, where that is known."""


class Reading(NamedTuple):
    """The newest messages of one log, oldest first."""

    heard: list[Heard]
    unread: int
    """How many older ones were not read."""
    last: int
    """Sequence of the last entry that was read; 0 if there was none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """When a reader has enough, and a guess of how far back that is; no guess: all is wanted."""

    enough: Callable[[Sequence[Heard]], bool] = lambda _: False
    messages: int | None = None
    size_bytes: int | None = None

    @property
    def entries(self) -> int | None:
        """How many entries to read at first; None: all."""
        if self.size_bytes is None:
            return self.messages
        guess = max(self.size_bytes // ENTRY_BYTES, FIRST_READ)
        return guess if self.messages is None else min(guess, self.messages)

    def more(self) -> "Wanted":
        """Return the same with a guess four times as large."""
        return replace(
            self,
            messages=None if self.messages is None else max(self.messages, 1) * 4,
            size_bytes=None if self.size_bytes is None else max(self.size_bytes, 1) * 4,
        )


ALL = Wanted()


async def read_back(
    log: Log,
    pattern: str,
    parse: Callable[[Entry], list[Heard]],
    wanted: Wanted,
    *,
    after: int = 0,
    upto: int | None = None,
) -> Reading:
    """Return the newest messages in (`after`, `upto`]: as many as are enough, or all."""
    while True:
        entries, older = await newest(log, pattern, wanted=wanted.entries, after=after, upto=upto)
        heard = [message for entry in entries for message in parse(entry)]
        if not older or wanted.enough(heard):
            first = heard[0].before if heard else None
            unread = older if first is None or not older else first
            return Reading(heard, unread, entries[-1].sequence if entries else 0)
        wanted = wanted.more()

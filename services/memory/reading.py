"""Reading logs backwards, until there is enough."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from natscope.contracts.message import Message
from services.memory.log import Entry, Log, newest


class Heard(NamedTuple):
    """One message as it stands in a log."""

    message: Message
    at_ns: int
    sequence: int
    before: int | None = None
    """How many messages of the log came before it, where that is known."""


class Reading(NamedTuple):
    """The newest messages of one log, oldest first."""

    heard: list[Heard]
    unread: int
    """How many older ones were not read."""
    last: int
    """Sequence of the last entry that was read; 0 if there was none."""


Enough = Callable[[Sequence[Heard]], bool]
Parse = Callable[[Entry], list[Heard]]


async def read_back(
    log: Log,
    pattern: str,
    parse: Parse,
    *,
    wanted: int | None,
    enough: Enough,
    after: int = 0,
    upto: int | None = None,
) -> Reading:
    """Return the newest messages in (`after`, `upto`]: as many as are `enough`, or all.

    `wanted` is how many entries are read at first; None reads all at once.
    """
    while True:
        entries, older = await newest(log, pattern, wanted=wanted, after=after, upto=upto)
        heard = [message for entry in entries for message in parse(entry)]
        if not older or wanted is None or enough(heard):
            first = heard[0].before if heard else None
            unread = older if first is None or not older else first
            return Reading(heard, unread, entries[-1].sequence if entries else 0)
        wanted *= 4

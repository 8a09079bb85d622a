"""Sessions: one log of messages each, in which every message id is once."""

import asyncio
import logging
import random
from collections.abc import Iterator, Sequence
from weakref import WeakValueDictionary

from pydantic import ValidationError

from natscope.contracts.errors import BodyTooLarge, Overloaded, SessionNotFound
from natscope.contracts.memory import Logged
from natscope.contracts.message import Message
from services.memory.known import Known, Remembered
from services.memory.log import Entry, Log, Moved, pages
from services.memory.reading import ALL, Heard, Reading, Wanted, read_back

log = logging.getLogger(__name__)

ENTRY_BYTES = (16 << 20) + (64 << 10)
"""Largest entry: a task may have 16 MiB, and the message made of it has a name and an id besides."""
ATTEMPTS = 40


class Sessions:
    """Reads and writes sessions. Any number of processes may do so at once."""

    def __init__(self, entries: Log, *, remembered_ids: int = 200_000) -> None:
        self._log = entries
        self._remembered = Remembered(remembered_ids)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def append(self, session: str, messages: Sequence[Message], *, fresh: bool = False) -> tuple[int, int]:
        """Write the messages that are not there yet, in order; return how many that were and the log's last sequence.

        `fresh` says that the session is likely to be new, which saves a look; it may be wrong.

        They become one entry, so that they are there together or not at all; only what is over 16 MiB becomes several,
        one after the other.

        Raises:
            BodyTooLarge: one message alone is over 16 MiB; nothing was written.
            Overloaded: too many others write to the session at the same time.
            BusUnavailable: it is not known whether they were written; append them again.
        """
        bodies = {message.id: _body(message) for message in reversed(messages)}
        ids = list(dict.fromkeys(message.id for message in messages))
        lock = self._locks.setdefault(session, asyncio.Lock())
        async with lock:
            known = self._remembered.take(session)
            if known is None and fresh:
                known = Known()
            elif known is None or known.contested or known.ids.issuperset(ids):
                known = await self._look(session, known)
            added = 0
            for _ in range(ATTEMPTS):
                try:
                    for entry in _entries([id for id in ids if id not in known.ids], bodies):
                        await self._write(session, entry, bodies, known)
                        added += len(entry)
                except Moved:
                    await asyncio.sleep(random.uniform(0, 0.002))  # noqa: S311 - keeps writers apart, no secret
                    known = await self._look(session, known)
                else:
                    self._remembered.put(session, known)
                    return added, known.last
        raise Overloaded(f"session {session!r} is written to by too many at once", remedy="append it again")

    async def newest(self, session: str, wanted: Wanted, *, upto: int | None = None) -> Reading:
        """Return the session's newest messages, up to the sequence `upto`; a session that does not exist has none."""
        reading = None if upto is not None else await self._newest_known(session, wanted)
        if reading is not None:
            return reading
        parsed: dict[int, tuple[Logged | None, int]] = {}

        def parse(entry: Entry) -> list[Heard]:
            if entry.sequence not in parsed:
                parsed[entry.sequence] = _logged(entry), len(entry.data)
            return _heard(parsed[entry.sequence][0], entry.at_ns)

        reading = await read_back(self._log, session, parse, wanted, upto=upto)
        if upto is None and not reading.unread:
            known = Known()
            for sequence in sorted(parsed):
                known.learn(sequence, *parsed[sequence])
            self._remembered.offer(session, known)
        return reading

    async def _newest_known(self, session: str, wanted: Wanted) -> Reading | None:
        """Read from where enough is known to begin; None if that is not known."""
        known = self._remembered.get(session)
        while known is not None:
            start = known.start(wanted)
            if start is None:
                return None
            found = [entry async for page in pages(self._log, session, after=start - 1) for entry in page.entries]
            if not found or found[0].sequence != start:
                return None
            heard = [one for entry in found for one in _heard(_logged(entry), entry.at_ns)]
            if wanted.enough(heard):
                return Reading(heard, (heard[0].before or 0) if heard else 0, found[-1].sequence)
            wanted = wanted.more()
        return None

    async def everything(self, session: str) -> list[Message]:
        """Return all messages.

        Raises:
            SessionNotFound: there are none.
        """
        reading = await self.newest(session, ALL)
        if not reading.heard:
            raise not_found(session)
        return [heard.message for heard in reading.heard]

    async def forget(self, session: str) -> int:
        """Remove the session and return how many messages are gone."""
        async with self._locks.setdefault(session, asyncio.Lock()):
            known = await self._look(session, self._remembered.take(session))
            purged = await self._log.forget(session)
            return known.count if purged else 0

    async def _write(self, session: str, ids: list[str], bodies: dict[str, bytes], known: Known) -> None:
        data = b'{"before":%d,"messages":[%s]}' % (known.count, b",".join(bodies[id] for id in ids))
        sequence = await self._log.add(session, data, expect=known.last)
        known.add(sequence, ids, len(data))

    async def _look(self, session: str, known: Known | None) -> Known:
        """Return what is true now. What was `known` is read no more, unless the session was cleared since."""
        if known is not None and known.last:
            found = await self._catch_up(session, known)
            if found is not None:
                return found
        fresh = Known(contested=known is not None)
        async for page in pages(self._log, session):
            for entry in page.entries:
                fresh.learn(entry.sequence, _logged(entry), len(entry.data))
        return fresh

    async def _catch_up(self, session: str, known: Known) -> Known | None:
        last = known.last
        async for page in pages(self._log, session, after=last - 1):
            entries = iter(page.entries)
            if known.last == last and (not page.entries or next(entries).sequence != last):
                return None
            for entry in entries:
                known.learn(entry.sequence, _logged(entry), len(entry.data))
                known.contested = True
        return known


def not_found(session: str) -> SessionNotFound:
    """Return the error that says there is no such session."""
    return SessionNotFound(f"there is no session {session!r}", remedy="a session begins with its first message")


def _body(message: Message) -> bytes:
    body = message.__pydantic_serializer__.to_json(message)
    if len(body) > ENTRY_BYTES:
        raise BodyTooLarge(
            f"message {message.id!r} has {len(body):,} bytes; a session takes {ENTRY_BYTES:,}",
            remedy="put large content in a file block",
        )
    return body


def _entries(ids: list[str], bodies: dict[str, bytes]) -> Iterator[list[str]]:
    entry: list[str] = []
    size = 0
    for id in ids:
        if entry and size + len(bodies[id]) > ENTRY_BYTES:
            yield entry
            entry, size = [], 0
        entry.append(id)
        size += len(bodies[id]) + 1
    if entry:
        yield entry


def _logged(entry: Entry) -> Logged | None:
    try:
        return Logged.model_validate_json(entry.data)
    except ValidationError:
        log.warning("an entry cannot be read", extra={"session": entry.key, "sequence": entry.sequence})
        return None


def _heard(logged: Logged | None, at_ns: int) -> list[Heard]:
    if logged is None:
        return []
    return [Heard(message, at_ns, logged.before + index) for index, message in enumerate(logged.messages)]

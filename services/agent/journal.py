"""The journal on JetStream: append-only, fenced, read back whole."""

import asyncio
import logging
import time

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.journaled import entry_of
from natscope.bus.ledger import latest
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BusUnavailable, Overloaded, RunFenced
from natscope.contracts.run import JOURNALED, JournalEntry
from services.agent.dialogue import tell_dialogue

log = logging.getLogger(__name__)

STREAM = JOURNALED.stream or ""
RETRY_S = 0.25


class Journal:
    """One run's log. Only one process can append: whoever appended last, or took it over."""

    def __init__(self, bus: Bus, run: str) -> None:
        self._bus = bus
        self._run = run
        self._last = 0
        self._line = asyncio.Lock()

    async def append(self, entry: JournalEntry, *, patience_s: float = 60.0) -> None:
        """Record `entry` after all others; it is on disk when this returns.

        Appends of one process keep the order of the calls. A lost acknowledgement is looked up, not guessed.

        Raises:
            RunFenced: another process has written; this one does not hold the run.
            BusUnavailable: no acknowledgement within `patience_s`.
        """
        mark = new_id()
        async with self._line:
            end = time.monotonic() + patience_s
            while True:
                try:
                    self._last = await self._bus.record(
                        JOURNALED, entry, self._run, message_id=mark, expect_last=self._last
                    )
                    break
                except RunFenced:
                    if not await self._mine(mark):
                        raise
                    break
                except (BusUnavailable, Overloaded) as error:
                    if time.monotonic() > end:
                        raise
                    log.warning("journal append is tried again", extra={"run": self._run, "reason": error.message})
                    await asyncio.sleep(RETRY_S)
            tell_dialogue(self._run, entry)

    async def read(self) -> list[JournalEntry]:
        """Return all entries, oldest first; appending goes on after the last of them.

        Raises:
            JournalNewer: an entry is of a version this process does not know; the run must be left to a newer one.
            RunPoisoned: an entry is none.
        """
        subject = JOURNALED.at(self._run)
        entries: list[JournalEntry] = []
        sequence = 1
        while True:
            try:
                found = await self._bus.js.get_msg(STREAM, seq=sequence, subject=subject, next=True, direct=True)
            except js_errors.NotFoundError:
                return entries
            except (nats_errors.Error, js_errors.Error) as error:
                raise BusUnavailable(f"the journal of {self._run!r} cannot be read: {error!r}") from error
            data = await self._bus.envelope.unpack(found.data or b"", found.headers)
            entries.append(entry_of(data, run=self._run))
            self._last = int(found.seq or 0)
            sequence = self._last + 1

    async def is_ours(self) -> bool:
        """Return whether nobody else has written since; if that cannot be found out, it is taken for granted."""
        async with self._line:
            try:
                found = await latest(self._bus, STREAM, JOURNALED.at(self._run))
            except BusUnavailable:
                return True
            return found is None or int(found.seq or 0) == self._last

    async def _mine(self, mark: str) -> bool:
        found = await latest(self._bus, STREAM, JOURNALED.at(self._run))
        if found is None or (found.headers or {}).get("Nats-Msg-Id") != mark:
            return False
        self._last = int(found.seq or 0)
        return True

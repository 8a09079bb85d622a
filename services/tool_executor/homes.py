"""Which executor holds a session's cell, so that a call that lands elsewhere finds its files."""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.connection import refused
from natscope.bus.envelope import Headers
from natscope.bus.ledger import Instance, latest
from natscope.bus.streams import CELLS
from natscope.contracts import tool
from natscope.contracts.door import AnswerT, AskT, Command
from natscope.contracts.errors import BusUnavailable, RunFenced, ServiceNotRunning

log = logging.getLogger(__name__)

RENEW_AFTER = timedelta(hours=1)
"""How long a claim goes without being written again; the bucket forgets after a day."""
LOOK_AGAIN_S = 60.0
"""How long a claim that was seen to be ours is taken to be so, while nobody is heard to write to it."""
REMEMBERED = 10_000
"""Claims that are remembered at most."""


@dataclass(frozen=True)
class _Claim:
    """What the bucket says now; without a holder the session is nobody's."""

    holder: str | None
    sequence: int
    old: bool


class Homes:
    """Claims on sessions, in a bucket that all executors share; a claim holds while its executor lives.

    Another executor may have taken a session over while this one was cut off. So the bucket is looked at on every call,
    unless all that was written there since the last look was heard, over the same connection.
    """

    def __init__(self, bus: Bus, instance: Instance) -> None:
        self._bus = bus
        self._instance = instance
        self._listens = False
        self._written = 0
        """Claims that others were heard to write."""
        self._ours: dict[str, tuple[float, int]] = {}
        """Sessions that were seen to be ours: until when that is believed, and over which connection it was seen."""

    async def listen(self) -> None:
        """Hear from now on what others write; until then nothing is remembered."""
        ours = self._instance.id.encode()

        async def written(message: Msg) -> None:
            if message.data != ours:
                self._written += 1
                self._ours.pop(message.subject.rpartition(".")[2], None)

        await self._bus.nc.subscribe(self._subject("*"), cb=written)
        self._listens = True

    async def carry_out_there(self, ask: tool.Call) -> tool.Called | None:
        """Have the executor that holds the session's cell carry the call out; None: that is this one, or it is now.

        Raises:
            BusUnavailable: the claims cannot be reached; nothing ran.
        """
        return await self.ask_there(tool.HELD, ask, ask.session)

    async def is_here(self, session: str) -> bool:
        """Return whether the session is this executor's, by a claim that need not be written again.

        Asked once the server has answered something else, it tells of all that was written before that answer.

        Raises:
            BusUnavailable: the claims cannot be reached.
        """
        until, connection = self._ours.get(session, (0.0, 0))
        if time.monotonic() < until and connection == self._connection:
            return True
        heard = self._heard
        claim = await self._look(session)
        here = claim.holder == self._instance.id and not claim.old
        if here:
            self._remember(session, heard)
        return here

    async def ask_there(self, door: Command[AskT, AnswerT], ask: AskT, session: str) -> AnswerT | None:
        """Return what the executor that holds the session's cell answers; None: that is this one, or it is now.

        Raises:
            BusUnavailable: the claims cannot be reached; nothing was done.
        """
        takeover = False
        while True:
            heard = self._heard
            claim = await self._look(session)
            ours = claim.holder == self._instance.id
            if ours and not claim.old:
                self._remember(session, heard)
                return None
            if claim.holder is None or ours or takeover:
                if await self._claim(session, expect=claim.sequence):
                    self._remember(session, heard)
                    return None
                takeover = False
                continue
            try:
                return await self._bus.ask(door, ask, claim.holder)
            except ServiceNotRunning:
                log.warning("holder gone", extra={"session": session, "holder": claim.holder})
                takeover = True

    @property
    def _connection(self) -> int:
        return self._bus.nc.stats["reconnects"]

    @property
    def _heard(self) -> tuple[int, int]:
        return self._written, self._connection

    def _remember(self, session: str, heard: tuple[int, int]) -> None:
        """Remember that the session is ours, unless something was heard meanwhile that may be newer."""
        if self._listens and heard == self._heard:
            if len(self._ours) >= REMEMBERED:
                self._ours.clear()
            self._ours[session] = (time.monotonic() + LOOK_AGAIN_S, self._connection)

    async def _look(self, session: str) -> _Claim:
        found = await latest(self._bus, f"KV_{CELLS}", self._subject(session))
        if found is None:
            return _Claim(None, 0, old=False)
        holder = (found.data or b"").decode()
        lives = bool(holder) and await self._instance.lives(holder)
        return _Claim(holder if lives else None, found.seq or 0, old=_is_old(found.headers or {}))

    async def _claim(self, session: str, *, expect: int) -> bool:
        headers: Headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        subject = self._subject(session)
        try:
            await self._bus.inbox.store(subject, self._instance.id.encode(), headers)
        except js_errors.APIError as error:
            failure = refused(error, subject)
            if isinstance(failure, RunFenced):
                return False
            raise failure from error
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"the claims on sessions cannot be reached: {error!r}") from error
        return True

    @staticmethod
    def _subject(session: str) -> str:
        return f"$KV.{CELLS}.{session}"


def _is_old(headers: Headers) -> bool:
    """Return whether the claim was written so long ago that it should be again; the clocks need not agree well."""
    return datetime.now(UTC) - datetime.fromisoformat(headers["Nats-Time-Stamp"]) > RENEW_AFTER

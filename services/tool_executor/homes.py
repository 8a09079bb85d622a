"""Which executor holds a session's cell, so that a call that lands elsewhere finds its files."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nats import errors as nats_errors
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


@dataclass(frozen=True)
class _Claim:
    """What the bucket says now; without a holder the session is nobody's."""

    holder: str | None
    sequence: int
    old: bool


class Homes:
    """Claims on sessions, in a bucket that all executors share; a claim holds while its executor lives.

    The bucket is looked at on every call: another executor may have taken a session over while this one was cut off.
    """

    def __init__(self, bus: Bus, instance: Instance) -> None:
        self._bus = bus
        self._instance = instance

    async def carry_out_there(self, ask: tool.Call) -> tool.Called | None:
        """Have the executor that holds the session's cell carry the call out; None: that is this one, or it is now.

        Raises:
            BusUnavailable: the claims cannot be reached; nothing ran.
        """
        return await self.ask_there(tool.HELD, ask, ask.session)

    async def is_here(self, session: str) -> bool:
        """Return whether the session is this executor's, by a claim that need not be written again.

        Raises:
            BusUnavailable: the claims cannot be reached.
        """
        claim = await self._look(session)
        return claim.holder == self._instance.id and not claim.old

    async def ask_there(self, door: Command[AskT, AnswerT], ask: AskT, session: str) -> AnswerT | None:
        """Return what the executor that holds the session's cell answers; None: that is this one, or it is now.

        Raises:
            BusUnavailable: the claims cannot be reached; nothing was done.
        """
        takeover = False
        while True:
            claim = await self._look(session)
            if claim.holder == self._instance.id and not claim.old:
                return None
            if claim.holder is None or claim.holder == self._instance.id or takeover:
                if await self._claim(session, expect=claim.sequence):
                    return None
                takeover = False
                continue
            try:
                return await self._bus.ask(door, ask, claim.holder)
            except ServiceNotRunning:
                log.warning("holder gone", extra={"session": session, "holder": claim.holder})
                takeover = True

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

"""Which executor holds a session's cell, so that a call that lands elsewhere finds its files."""

import logging
import time

from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.connection import refused
from natscope.bus.ledger import Instance, latest
from natscope.bus.streams import CELLS
from natscope.contracts import tool
from natscope.contracts.errors import RunFenced, ServiceNotRunning

log = logging.getLogger(__name__)

RENEW_AFTER_S = 3600.0
"""How long a claim goes without being written again; the bucket forgets after a day."""
MANY = 10_000
"""Claims remembered before old ones are dropped."""


class Homes:
    """Claims on sessions, in a bucket that all executors share; a claim holds while its executor lives."""

    def __init__(self, bus: Bus, instance: Instance) -> None:
        self._bus = bus
        self._instance = instance
        self._claimed_at: dict[str, float] = {}

    async def carry_out_there(self, ask: tool.Call) -> tool.Called | None:
        """Have the executor that holds the session's cell carry the call out; None: that is this one, or it is now."""
        if self._is_ours(ask.session):
            return None
        takeover = False
        while True:
            holder, sequence = await self._holder(ask.session)
            if holder is None or holder == self._instance.id or takeover:
                if await self._claim(ask.session, expect=sequence):
                    return None
                takeover = False
                continue
            try:
                return await self._bus.ask(tool.HELD, ask, holder)
            except ServiceNotRunning:
                log.warning("holder gone", extra={"session": ask.session, "holder": holder})
                takeover = True

    async def _holder(self, session: str) -> tuple[str | None, int]:
        found = await latest(self._bus, f"KV_{CELLS}", self._subject(session))
        if found is None:
            return None, 0
        holder = (found.data or b"").decode()
        return (holder if await self._instance.lives(holder) else None), found.seq or 0

    async def _claim(self, session: str, *, expect: int) -> bool:
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        subject = self._subject(session)
        try:
            await self._bus.js.publish(subject, self._instance.id.encode(), headers=headers)
        except js_errors.APIError as error:
            failure = refused(error, subject)
            if isinstance(failure, RunFenced):
                return False
            raise failure from error
        if len(self._claimed_at) >= MANY:
            self._claimed_at = {known: at for known, at in self._claimed_at.items() if self._is_ours(known)}
        self._claimed_at[session] = time.monotonic()
        return True

    def _is_ours(self, session: str) -> bool:
        claimed_at = self._claimed_at.get(session)
        return claimed_at is not None and time.monotonic() - claimed_at < RENEW_AFTER_S

    @staticmethod
    def _subject(session: str) -> str:
        return f"$KV.{CELLS}.{session}"

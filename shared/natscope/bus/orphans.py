"""Noticing that whoever works under an id has died, long before a deadline says so."""

# nats-py leaves headers untyped.
# pyright: reportUnknownMemberType=false

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from nats import errors as nats_errors

from natscope.bus.connection import Bus
from natscope.bus.instance import BEAT_S, INSTANCES, latest
from natscope.bus.ledger import holder_of
from natscope.contracts.errors import DeadlineExceeded, NatscopeError

T = TypeVar("T")

LOOK_S = 1.0
SURE_S = 1.5
"""How long a process's connection must be gone: it may be reconnecting."""
SLOW_S = 5.0


class Orphaned(DeadlineExceeded):
    """Whoever took the ask died over it."""


async def unless_orphaned(bus: Bus, bucket: str, id: str, asking: Coroutine[Any, Any, T]) -> T:
    """Return what `asking` returns, unless the process dies that works under `id` in the ledger `bucket`.

    That takes two to three seconds. A process that is slow or hangs is not dead: NATS knows its connection, and one
    that NATS has closed because it said nothing has given no sign of life either.

    Raises:
        Orphaned: it died; what it did is not known.
    """
    task = asyncio.create_task(asking)
    working: list[asyncio.Task[Any]] = [task]
    try:
        await asyncio.wait(working, timeout=LOOK_S)
        if not task.done():
            working.append(asyncio.create_task(_Watch(bus, bucket, id).until_dead()))
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Orphaned(f"{working[1].result()!r} died over it")
    finally:
        for each in working:
            each.cancel()
        await asyncio.gather(*working, return_exceptions=True)


class _Watch:
    """Looks whose hands an id is in, and whether they are there."""

    def __init__(self, bus: Bus, bucket: str, id: str) -> None:
        self._bus = bus
        self._claim = (f"KV_{bucket}", f"$KV.{bucket}.{id}")
        self._name = "the process"
        self._ear: str | None = None
        """Subject on which the holder answers as long as it is connected."""
        self._reconnects = bus.nc.stats["reconnects"]

    async def until_dead(self) -> str:
        """Return the dead holder's name."""
        sure_at: float | None = None
        while True:
            if not await self._is_gone():
                sure_at = None
            elif sure_at is None:
                sure_at = time.monotonic() + self._patience_s()
            elif time.monotonic() >= sure_at:
                return self._name
            await asyncio.sleep(LOOK_S if sure_at is None else SURE_S / 3)

    async def _is_gone(self) -> bool:
        """Return whether the holder lived until now and is gone; False also if nothing can be learned."""
        try:
            if self._ear is not None and await self._hears(self._ear):
                return False
            claim = await latest(self._bus, *self._claim)
            holder = holder_of(claim) if claim is not None else None
            sign = await latest(self._bus, f"KV_{INSTANCES}", f"$KV.{INSTANCES}.{holder}") if holder else None
            if sign is None:
                return False
            if (sign.headers or {}).get("KV-Operation") is not None:
                return True
            self._name = (sign.data or b"").decode()
            self._ear = f"$SRV.PING.{self._name}.{holder}"
            return not await self._hears(self._ear)
        except (NatscopeError, nats_errors.Error):
            return False

    async def _hears(self, subject: str) -> bool:
        """Return whether anybody listens there, however long it takes to answer."""
        try:
            await self._bus.inbox.request(subject, b"", timeout_s=SLOW_S)
        except nats_errors.NoRespondersError:
            return False
        except nats_errors.TimeoutError:
            pass
        return True

    def _patience_s(self) -> float:
        """Return how long a connection must be gone: if ours was away too, others need the time to come back."""
        reconnects = self._bus.nc.stats["reconnects"]
        if reconnects == self._reconnects:
            return SURE_S
        self._reconnects = reconnects
        return 2 * BEAT_S

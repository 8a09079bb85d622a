"""Instances: by a process's sign of life others tell whether what it began may still end."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import logging
import time

from nats import errors as nats_errors
from nats.js import errors as js_errors
from nats.js.api import RawStreamMsg

from natscope.bus.connection import Bus
from natscope.contracts.errors import BusUnavailable

log = logging.getLogger(__name__)

INSTANCES = "instances"
"""Bucket of processes that are alive; a key is gone ten seconds after its last beat."""
BEAT_S = 3.0


class Instance:
    """This process's sign of life."""

    def __init__(self, bus: Bus, name: str | None = None) -> None:
        """`name` is what `$SRV` calls the process; None: what its spans call it."""
        self.id = bus.telemetry.instance
        self._name = name or bus.telemetry.service
        self._bus = bus
        self._task: asyncio.Task[None] | None = None
        self._reconnects = 0
        self._patient_until = 0.0

    async def start(self) -> None:
        """Give the first sign before returning, then one every three seconds."""
        await self._beat()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Give no more signs, and take the last one back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._bus.js.publish(self._subject(self.id), b"", headers={"KV-Operation": "DEL"})
        except (nats_errors.Error, js_errors.Error):
            log.debug("the sign of life was not taken back")

    async def lives(self, instance: str) -> bool:
        """Return whether the process `instance` gave a sign within the last ten seconds."""
        if instance == self.id:
            return True
        found = await latest(self._bus, f"KV_{INSTANCES}", self._subject(instance))
        if found is None:
            return self._may_be_reconnecting()
        return (found.headers or {}).get("KV-Operation") is None

    def _may_be_reconnecting(self) -> bool:
        """After the server was away, others get two beats' time to give a sign again before they count as dead."""
        reconnects = self._bus.nc.stats["reconnects"]
        if reconnects != self._reconnects:
            self._reconnects, self._patient_until = reconnects, time.monotonic() + 2 * BEAT_S
        return time.monotonic() < self._patient_until

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._beat()
            except (nats_errors.Error, js_errors.Error):
                log.warning("no sign of life could be given")

    async def _beat(self) -> None:
        await self._bus.js.publish(self._subject(self.id), self._name.encode())

    @staticmethod
    def _subject(instance: str) -> str:
        return f"$KV.{INSTANCES}.{instance}"


async def latest(bus: Bus, stream: str, subject: str) -> RawStreamMsg | None:
    """Return the last message on `subject` that `stream` keeps, or None.

    Raises:
        BusUnavailable: the stream does not answer.
    """
    try:
        return await bus.inbox.look(stream, subject)
    except (nats_errors.Error, js_errors.Error) as error:
        raise BusUnavailable(f"stream {stream!r} does not answer: {error!r}") from error

"""A room: one service's connection, doors and signs of life, from start to a graceful end."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from faststream.nats import NatsBroker
from faststream.security import SASLPlaintext
from nats import errors as nats_errors
from nats.aio.client import Client

from natscope.bus.answering import Doors
from natscope.bus.connection import Bus, check_version, unreached
from natscope.bus.ledger import Instance
from natscope.bus.micro import Endpoint, Micro
from natscope.bus.settings import BusSettings
from natscope.bus.settling import settle
from natscope.bus.streams import SPAN_SUBJECT, wait_until_provisioned
from natscope.contracts.errors import BusUnavailable
from natscope.telemetry import Telemetry, telemetry_for

log = logging.getLogger(__name__)

PATIENCE_S = 2.0
"""How long NATS may take to answer before we say that we wait for it."""
REMIND_S = 30.0
WAY_OUT = "start NATS there, or set NATS_URL"
DRAIN_S = 15.0
"""How long calls in flight may take to end when a room closes."""


@dataclass
class Room:
    """An open room. `serve` makes its doors answer."""

    name: str
    bus: Bus
    instance: Instance
    broker: NatsBroker
    description: str = ""
    _served: list[Doors] = field(default_factory=list[Doors])
    _micro: Micro | None = None

    async def serve(self, *doors: Doors) -> None:
        """Answer at `doors` too from now on, and show them on `$SRV`."""
        for each in doors:
            self.broker.include_router(each.router)
            self._served.append(each)
        if self._micro is None:
            await self.broker.start()
            self._micro = Micro(self.name, self.instance.id, self.description, self._endpoints)
            await self._micro.start(self.bus.nc)
        else:
            for subscriber in (subscriber for each in doors for subscriber in each.router.subscribers):
                await subscriber.start()
        self._micro.endpoints = self._endpoints
        await settle(self.bus.nc)
        log.info("open", extra={"doors": [endpoint.subject for each in doors for endpoint in each.endpoints]})

    async def drop(self, doors: Doors) -> None:
        """Answer at `doors` no more, and return when the calls that were delivered have ended, or after 15 s."""
        self._served.remove(doors)
        if self._micro is not None:
            self._micro.endpoints = self._endpoints
        await asyncio.gather(*(_closed(subscriber) for subscriber in doors.router.subscribers))
        await doors.finish(within_s=DRAIN_S)
        self.broker.routers.remove(doors.router)

    @property
    def _endpoints(self) -> list[Endpoint]:
        return [endpoint for served in self._served for endpoint in served.endpoints]

    async def finish(self) -> None:
        """Take no new call, and return when those that were delivered have ended, or after 15 s."""
        await asyncio.gather(*(_closed(subscriber) for subscriber in self.broker.subscribers))
        await asyncio.gather(*(doors.finish(within_s=DRAIN_S) for doors in self._served))


@asynccontextmanager
async def open_room(
    name: str,
    *,
    description: str = "",
    settings: BusSettings | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncGenerator[Room]:
    """Connect a service, for as long as the body runs; waits for NATS, however long, and for the streams.

    At the end no new call is taken, those in flight may end within 15 s, and the connection is drained.

    Raises:
        CredentialRefused: NATS does not accept us.
        BusUnavailable: NATS refuses us for another reason or is too old, or nobody has provisioned it within a minute.
    """
    settings = settings or BusSettings()
    telemetry = telemetry or telemetry_for(name)
    broker = NatsBroker(
        **settings.options(name),
        security=_security(settings),
        user_credentials=settings.credentials,
        apply_types=False,
        graceful_timeout=DRAIN_S,
        logger=None,
    )
    nc = await _connected(broker, settings)
    bus = Bus(nc, telemetry)
    instance = Instance(bus, name)
    room = Room(name, bus, instance, broker, description)
    try:
        await wait_until_provisioned(bus.js)
        await instance.start()
        if telemetry.keeper is not None:
            telemetry.keeper.start(lambda trace_id, spans: nc.publish(f"{SPAN_SUBJECT}.{trace_id}", spans))
        yield room
    finally:
        await room.finish()
        await instance.stop()
        if telemetry.keeper is not None:
            await telemetry.keeper.stop()
        await broker.stop()
        await asyncio.to_thread(telemetry.close)
        log.info("closed")


async def _connected(broker: NatsBroker, settings: BusSettings) -> Client:
    """Return the connection however long NATS takes to come, and say every now and then what is waited for."""
    connecting = asyncio.ensure_future(broker.connect())
    try:
        patience_s = PATIENCE_S
        while not (await asyncio.wait((connecting,), timeout=patience_s))[0]:
            log.warning("waiting for NATS", extra={"servers": settings.where, "remedy": WAY_OUT})
            patience_s = REMIND_S
        nc = await connecting
        check_version(nc, settings)
        return nc
    except BusUnavailable:
        await broker.stop()
        raise
    except nats_errors.Error as error:
        raise unreached(error, settings) from error
    finally:
        connecting.cancel()


async def _closed(subscriber: Any) -> None:
    """Unsubscribe and hand on what is still queued; FastStream unsubscribes last and drops what came before that."""
    subscription, subscriber.subscription = subscriber.subscription, None
    if subscription is not None:
        try:
            await subscription.drain()
        except nats_errors.Error as error:
            log.warning("a door was not closed in order", extra={"reason": repr(error)})


def _security(settings: BusSettings) -> SASLPlaintext | None:
    if settings.user is None:
        return None
    password = settings.password.get_secret_value() if settings.password else ""
    return SASLPlaintext(username=settings.user, password=password)

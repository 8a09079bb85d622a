"""Pulling one message at a time from a durable consumer, by as many hands as there are free slots."""

import asyncio
import random

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from natscope.bus import Bus
from natscope.bus.settling import settle
from natscope.contracts.errors import BusUnavailable
from natscope.telemetry import names

EXPIRES_S = 5.0
NOTHING = ("404", "408")
"""Statuses that say: there is no message now."""


class Puller:
    """One consumer's messages. Each `next` asks for exactly one, so nothing waits here while its time runs out.

    nats-py's own `fetch` asks twice and cannot be shared. A lost request is asked again after six seconds.
    Source: ADR-13, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-13.md
    """

    def __init__(self, bus: Bus, stream: str, consumer: str) -> None:
        self._bus = bus
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = bus.nc.new_inbox()
        self._subscription: Subscription | None = None
        self._came: asyncio.Queue[Msg | str] = asyncio.Queue()

    async def start(self) -> None:
        """Listen for what is delivered."""
        self._subscription = await self._bus.nc.subscribe(self._inbox, cb=self._hear)

    async def stop(self) -> list[Msg]:
        """Take nothing more, so that the server gives it to others, and return what came but was not taken."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            await settle(self._bus.nc)
        left = [self._came.get_nowait() for _ in range(self._came.qsize())]
        return [message for message in left if isinstance(message, Msg)]

    async def next(self) -> Msg | None:
        """Return the next message, or None if there was none for four to five seconds.

        Raises:
            BusUnavailable: the request could not be sent, or the consumer does not take it.
        """
        try:
            await self._bus.nc.publish(self._subject, _request(), reply=self._inbox)
        except nats_errors.Error as error:
            raise BusUnavailable(f"no task can be pulled: {error!r}") from error
        try:
            async with asyncio.timeout(EXPIRES_S + 1):
                came = await self._came.get()
        except TimeoutError:
            return None
        if isinstance(came, Msg):
            return came
        if came in NOTHING:
            return None
        raise BusUnavailable(f"{self._subject!r} answers {came}", remedy="are the streams provisioned?")

    async def _hear(self, message: Msg) -> None:
        status = message.headers.get("Status") if message.headers and not message.reply else None
        self._came.put_nowait(message if status is None else status)


def _request() -> bytes:
    """Return a request for one message. Requests expire at different times, so that not all are renewed at once."""
    expires_s = random.uniform(0.8, 1.0) * EXPIRES_S  # noqa: S311 - keeps hands apart, no secret
    return b'{"batch":1,"expires":%d}' % int(expires_s * 1e9)


def attributes_of(template: str, message: Msg, group: str) -> dict[str, str | int]:
    """Return what a span says of the message that it is about."""
    return {
        names.MESSAGING_SYSTEM: "nats",
        names.MESSAGING_OPERATION: "process",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_DESTINATION: message.subject,
        names.MESSAGING_TEMPLATE: template,
        names.MESSAGING_GROUP: group,
        names.MESSAGING_STREAM: message.metadata.stream,
        names.MESSAGING_DELIVERIES: message.metadata.num_delivered,
    }

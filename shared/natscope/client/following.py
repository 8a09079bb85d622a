"""Following a subject of a stream from any sequence on: no gap, no double, across reconnects and server restarts."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from natscope.bus.connection import Bus
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BusUnavailable, ServiceNotRunning

HEARTBEAT_S = 2.0
"""How often the server says that there is nothing new."""
MISSED = 3
"""Without so many heartbeats in a row the reader begins anew behind the last message it gave."""
BATCH = 512
EXPIRES_S = 60.0
FORGOTTEN_S = 120.0
"""The server drops a reader that has not asked for so long."""
RETRY_S = 0.25


@dataclass(frozen=True)
class Kept:
    """A message as its stream keeps it."""

    sequence: int
    message: Msg


class _Lost(Exception):
    """The server's side of the reader is gone, or a message on the way."""


async def follow(bus: Bus, stream: str, subject: str, *, after: int = 0) -> AsyncGenerator[Kept | None]:
    """Give every message of `subject` behind sequence `after`, in order, and then those to come.

    None is given every two seconds in which nothing came, so that the caller can look around.

    Raises:
        ServiceNotRunning: there is no such stream.
        BusUnavailable: the connection was closed.
    """
    while True:
        try:
            async with aclosing(_read(bus, stream, subject, after)) as reader:
                async for kept in reader:
                    after = kept.sequence if kept else after
                    yield kept
        except js_errors.NotFoundError as error:
            raise ServiceNotRunning(
                f"there is no stream {stream!r}", remedy="run `python -m natscope.bus.provision`, or `natscope up`"
            ) from error
        except (_Lost, nats_errors.Error, js_errors.Error) as error:
            if bus.nc.is_closed:
                raise BusUnavailable("the connection to NATS was closed") from error
            await asyncio.sleep(RETRY_S)


async def _read(bus: Bus, stream: str, subject: str, after: int) -> AsyncGenerator[Kept | None]:
    inbox = bus.nc.new_inbox()
    queue: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await bus.nc.subscribe(inbox, cb=queue.put)
    try:
        name = await _consumer(bus, stream, subject, after)
        expected = wanted = 0
        while True:
            if wanted == 0:
                await _pull(bus, stream, name, inbox)
                wanted = BATCH
            message = await _next(queue)
            status = (message.headers or {}).get("Status")
            if status == "100":
                yield None
            elif status is not None:
                wanted = _after_status(status)
            else:
                expected, wanted = expected + 1, wanted - 1
                if message.metadata.sequence.consumer != expected:
                    raise _Lost
                yield Kept(message.metadata.sequence.stream, message)
    finally:
        if not bus.nc.is_closed:
            await subscription.unsubscribe()


async def _next(queue: "asyncio.Queue[Msg]") -> Msg:
    try:
        async with asyncio.timeout(HEARTBEAT_S * MISSED):
            return await queue.get()
    except TimeoutError as error:
        raise _Lost from error


def _after_status(status: str) -> int:
    """Return how many messages are still to come of a pull that ended with `status`.

    Source: ADR-37, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md#status-codes
    """
    if status in ("404", "408"):
        return 0
    raise _Lost


async def _consumer(bus: Bus, stream: str, subject: str, after: int) -> str:
    config = ConsumerConfig(
        name=f"guest-{new_id()}",
        filter_subject=subject,
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE if after else DeliverPolicy.ALL,
        opt_start_seq=after + 1 if after else None,
        inactive_threshold=FORGOTTEN_S,
        mem_storage=True,
        num_replicas=1,
    )
    return (await bus.js.add_consumer(stream, config)).name


async def _pull(bus: Bus, stream: str, name: str, inbox: str) -> None:
    request = {"batch": BATCH, "expires": int(EXPIRES_S * 1e9), "idle_heartbeat": int(HEARTBEAT_S * 1e9)}
    await bus.nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", json.dumps(request).encode(), reply=inbox)

"""Looking into streams without a consumer: one request, many answers (JetStream's batched direct get)."""

import asyncio
import json
from collections.abc import Mapping

from nats import errors as nats_errors
from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.contracts.errors import DeadlineExceeded, Internal, ServiceNotRunning

PATIENCE_S = 5.0
PAGE = 256

Request = Mapping[str, "int | str | list[str]"]


async def look(bus: Bus, stream: str, request: Request) -> list[Msg]:
    """Return the messages that `stream` has for `request`; none is an empty list.

    Raises:
        ServiceNotRunning: there is no such stream.
        DeadlineExceeded: the stream did not answer within five seconds.
        Internal: the server refused the request.
    Source: ADR-31, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md#batched-requests
    """
    inbox = bus.nc.new_inbox()
    queue: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await bus.nc.subscribe(inbox, cb=queue.put)
    found: list[Msg] = []
    try:
        await bus.nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await queue.get()
                if (status := (message.headers or {}).get("Status")) is None:
                    found.append(message)
                elif status in ("204", "404"):
                    return found
                else:
                    raise _refused(stream, status, message)
    except TimeoutError as error:
        raise _silent(stream) from error
    finally:
        await subscription.unsubscribe()


async def page(bus: Bus, stream: str, subject: str, *, after: int = 0) -> list[Msg]:
    """Return every message of `subject` behind sequence `after`, asking page by page."""
    found: list[Msg] = []
    while True:
        some = await look(bus, stream, {"seq": after + 1, "batch": PAGE, "next_by_subj": subject})
        found.extend(some)
        if len(some) < PAGE:
            return found
        after = sequence_of(some[-1])


async def last(bus: Bus, stream: str, subject: str) -> Msg | None:
    """Return the last message of `subject`, which may have wildcards, or None."""
    request = json.dumps({"last_by_subj": subject}).encode()
    try:
        message = await bus.inbox.request(f"$JS.API.DIRECT.GET.{stream}", request, timeout_s=PATIENCE_S)
    except nats_errors.NoRespondersError as error:
        raise _no_stream(stream) from error
    except nats_errors.TimeoutError as error:
        raise _silent(stream) from error
    status = (message.headers or {}).get("Status")
    if status is None:
        return message
    if status == "404":
        return None
    raise _refused(stream, status, message)


def sequence_of(message: Msg) -> int:
    """Return the stream sequence of a message that was looked up."""
    return int((message.headers or {})["Nats-Sequence"])


def subject_of(message: Msg) -> str:
    """Return the subject under which a message that was looked up is kept."""
    return (message.headers or {})["Nats-Subject"]


def _refused(stream: str, status: str, message: Msg) -> ServiceNotRunning | Internal:
    if status == "503":
        return _no_stream(stream)
    return Internal(f"stream {stream!r} refused a look: {status} {(message.headers or {}).get('Description', '')}")


def _no_stream(stream: str) -> ServiceNotRunning:
    remedy = "run `python -m natscope.bus.provision`, or `natscope up`"
    return ServiceNotRunning(f"there is no stream {stream!r}", remedy=remedy)


def _silent(stream: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"stream {stream!r} did not answer within {PATIENCE_S:g} s")

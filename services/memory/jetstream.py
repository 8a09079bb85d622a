"""Logs on JetStream: fenced writes, and reads that are answered in one round trip."""

import asyncio
import itertools
import json
import logging
from datetime import datetime

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.blobs import BODIES
from natscope.bus.connection import STORE_TIMEOUT_S, WRONG_LAST_SEQUENCE, refused
from natscope.bus.envelope import CLAIM, Headers
from natscope.contracts.errors import BlobNotFound, BodyInvalid, BusUnavailable, Internal, ServiceNotRunning
from services.memory.bodies import Bodies
from services.memory.log import PAGE, Entry, Moved, Page

log = logging.getLogger(__name__)

PAGE_BYTES = 4 << 20
"""A page ends early when it holds more than this (4 MiB)."""
PAGE_BODIES_BYTES = 32 << 20
"""And when the bodies that were stored apart from it are more than this together (32 MiB)."""


class _Reply:
    """What has come so far on one request."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []
        self.pending: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class DirectReader:
    """Reads many stored messages with one request.

    Source: ADR-31, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._inbox = bus.nc.new_inbox()
        self._numbers = itertools.count()
        self._open: dict[str, _Reply] = {}

    async def start(self) -> None:
        """Begin to hear replies."""
        await self.bus.nc.subscribe(f"{self._inbox}.*", cb=self._heard, pending_msgs_limit=-1, pending_bytes_limit=-1)

    async def page(self, stream: str, subject: str, *, after: int, limit: int) -> tuple[list[Msg], int]:
        """Return the messages on `subject` behind the sequence `after`, at most `limit`, and how many came after them.

        Raises:
            BusUnavailable: no answer.
        """
        request = {"seq": after + 1, "next_by_subj": subject, "batch": limit, "max_bytes": PAGE_BYTES}
        number = str(next(self._numbers))
        reply = self._open[number] = _Reply()
        try:
            await self.bus.nc.publish(
                f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=f"{self._inbox}.{number}"
            )
            async with asyncio.timeout(STORE_TIMEOUT_S):
                return reply.messages, await reply.pending
        except (nats_errors.Error, TimeoutError) as error:
            raise BusUnavailable(f"stream {stream!r} does not answer: {error!r}", remedy="is the server up?") from error
        finally:
            del self._open[number]

    async def _heard(self, message: Msg) -> None:
        reply = self._open.get(message.subject.rpartition(".")[2])
        if reply is None or reply.pending.done():
            return
        headers = message.headers or {}
        status = headers.get("Status")
        if status is None:
            reply.messages.append(message)
        elif status == "204":
            reply.pending.set_result(int(headers["Nats-Num-Pending"]))
        elif status == "404":
            reply.pending.set_result(0)
        elif status == "503":
            reply.pending.set_exception(
                ServiceNotRunning("a stream is not there", remedy="run `python -m natscope.bus.provision`")
            )
        else:
            reply.pending.set_exception(Internal(f"JetStream refused to read: {status} {headers.get('Description')}"))


class StreamLog:
    """A stream as a log: the key is what follows `prefix` in the subject. Large entries are kept in `bucket`."""

    def __init__(self, reader: DirectReader, stream: str | None, prefix: str, *, bucket: str = BODIES) -> None:
        self._reader = reader
        self._bus = reader.bus
        self._stream = stream or ""
        self._prefix = f"{prefix}."
        self._bodies = Bodies(reader.bus, bucket)

    async def page(self, pattern: str, *, after: int = 0, limit: int = PAGE) -> Page:
        messages, pending = await self._reader.page(self._stream, self._prefix + pattern, after=after, limit=limit)
        entries: list[Entry] = []
        size = 0
        for message in messages:
            entries.append(await self._entry(message))
            size += len(entries[-1].data)
            if size > PAGE_BODIES_BYTES:
                break
        return Page(entries, pending + len(messages) - len(entries))

    async def add(self, key: str, data: bytes, *, expect: int) -> int:
        subject = self._prefix + key
        headers: Headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        data = await self._bodies.put(data, headers)
        try:
            return (await self._bus.inbox.store(subject, data, headers)).seq
        except js_errors.APIError as error:
            await self._bodies.drop(headers)
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise Moved(key) from error
            raise refused(error, subject) from error
        except (nats_errors.Error, js_errors.Error) as error:
            raise self._unavailable(error) from error

    async def end(self) -> int:
        try:
            return (await self._bus.js.stream_info(self._stream)).state.last_seq
        except (nats_errors.Error, js_errors.Error) as error:
            raise self._unavailable(error) from error

    async def forget(self, pattern: str) -> int:
        claims = await self._claims(pattern)
        purged = await self._purge(pattern)
        for headers in claims:
            await self._bodies.drop(headers)
        return purged

    async def _claims(self, pattern: str) -> list[Headers]:
        """Return the headers of the entries whose bodies are stored apart."""
        found: list[Headers] = []
        after, pending = 0, 1
        while pending:
            messages, pending = await self._reader.page(self._stream, self._prefix + pattern, after=after, limit=PAGE)
            if not messages:
                break
            headers = [message.headers or {} for message in messages]
            found += [each for each in headers if CLAIM in each]
            after = int(headers[-1]["Nats-Sequence"])
        return found

    async def _purge(self, pattern: str) -> int:
        request = json.dumps({"filter": self._prefix + pattern}).encode()
        try:
            reply = await self._bus.nc.request(f"$JS.API.STREAM.PURGE.{self._stream}", request, timeout=STORE_TIMEOUT_S)
        except nats_errors.Error as error:
            raise self._unavailable(error) from error
        answer = json.loads(reply.data)
        if "error" in answer:
            raise Internal(f"stream {self._stream!r} was not purged: {answer['error'].get('description')}")
        return answer["purged"]

    async def _entry(self, message: Msg) -> Entry:
        headers = message.headers or {}
        data = message.data
        if CLAIM in headers:
            try:
                data = await self._bodies.get(headers)
            except (BlobNotFound, BodyInvalid):
                log.warning(
                    "a body is gone or not to be trusted",
                    extra={"stream": self._stream, "sequence": headers["Nats-Sequence"]},
                )
        return Entry(
            key=headers["Nats-Subject"].removeprefix(self._prefix),
            sequence=int(headers["Nats-Sequence"]),
            at_ns=_nanoseconds(headers["Nats-Time-Stamp"]),
            data=data,
        )

    def _unavailable(self, error: Exception) -> BusUnavailable:
        return BusUnavailable(f"stream {self._stream!r} does not answer: {error!r}", remedy="is the server up?")


def _nanoseconds(stamp: str) -> int:
    """Return an RFC 3339 instant with up to nine fractional digits, as the server writes it."""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0"))

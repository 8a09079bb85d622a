"""A process's line to NATS: asking, telling and recording."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from nats.js.api import PubAck
from opentelemetry.trace import SpanKind

from natscope.bus.blobs import Blobs
from natscope.bus.envelope import ERROR_CODE, Envelope, Headers, read
from natscope.bus.inbox import STORE_TIMEOUT_S, Inbox
from natscope.bus.settings import BusSettings, place
from natscope.contracts.contract import Contract
from natscope.contracts.door import AnswerT, AskT, BodyT, Command, Durable, Event
from natscope.contracts.errors import (
    BusUnavailable,
    CredentialRefused,
    DeadlineExceeded,
    Failure,
    Internal,
    NatscopeError,
    Overloaded,
    RunFenced,
    ServiceNotRunning,
)
from natscope.telemetry import Telemetry, names, telemetry_for
from natscope.telemetry.propagation import inject

log = logging.getLogger(__name__)
C = TypeVar("C", bound=Contract)

WRONG_LAST_SEQUENCE = 10071
STREAM_FULL = frozenset({10077, 10122, 10167})
"""JetStream: maximum messages, maximum bytes, maximum per subject exceeded."""
LEAST_SERVER = (2, 11)
"""The first servers that read a stream page by page as we do: they say how many messages come after a page.

Source: ADR-31, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md
"""
_VIOLATION = "authorization violation"
"""What a server says to whom it does not accept; while connecting, nats-py has no class for it."""


class Bus:
    """What a process does with NATS. Owns nothing: whoever connected closes the connection."""

    def __init__(self, nc: Client, telemetry: Telemetry) -> None:
        self.nc = nc
        self.js = nc.jetstream(timeout=STORE_TIMEOUT_S)
        self.inbox = Inbox(nc)
        self.telemetry = telemetry
        self.blobs = Blobs(self.js)
        self.envelope = Envelope(self.js, self.blobs)

    async def ask(
        self, door: Command[AskT, AnswerT], body: AskT, *keys: str, deadline_s: float | None = None
    ) -> AnswerT:
        """Ask a service and return its answer.

        Raises:
            ServiceNotRunning: nobody listens at the door.
            DeadlineExceeded: no answer within `deadline_s` (default: the door's own).
            BusUnavailable: the connection is down.
            NatscopeError: what the service answered instead, as the class it raised.
        """
        subject = door.at(*keys)
        headers: Headers = {}
        data = await self.envelope.pack(body, headers)
        self._sent(door.template, subject, headers)
        wait = door.deadline_s if deadline_s is None else deadline_s
        try:
            reply = await self.inbox.request(subject, data, timeout_s=wait, headers=headers or None)
        except nats_errors.NoRespondersError as error:
            raise ServiceNotRunning(
                f"nobody answers at {subject!r}", remedy=f"start the {door.room} service"
            ) from error
        except nats_errors.TimeoutError as error:
            raise DeadlineExceeded(f"{subject!r} did not answer within {wait:g} s") from error
        except nats_errors.Error as error:
            raise self._unavailable(error) from error
        return await self._answer(door, reply)

    async def ask_all(self, door: Command[AskT, AnswerT], body: AskT, *, wait_s: float) -> list[AnswerT]:
        """Ask everybody who listens at the door and return the answers that came within `wait_s`.

        Failures are left out, and so are answers that cannot be read. Nobody listening is an empty list, at once.
        """
        headers: Headers = {}
        data = await self.envelope.pack(body, headers)
        self._sent(door.template, door.at(), headers)
        inbox = self.nc.new_inbox()
        subscription = await self.nc.subscribe(inbox)
        answers: list[AnswerT] = []
        try:
            await self.nc.publish(door.at(), data, reply=inbox, headers=headers or None)
            async with asyncio.timeout(wait_s):
                async for reply in subscription.messages:
                    if reply.headers and reply.headers.get("Status") == "503":
                        break
                    with suppress(NatscopeError, nats_errors.Error, js_errors.Error):
                        answers.append(await self._answer(door, reply))
        except TimeoutError:
            pass
        finally:
            await subscription.unsubscribe()
        return answers

    async def submit(
        self, door: Durable[AskT], body: AskT, *keys: str, message_id: str, headers: Mapping[str, str] | None = None
    ) -> PubAck:
        """Put a command into its stream. When this returns it is kept; `duplicate` says it was there before.

        Raises:
            Overloaded: the stream is full; nothing was accepted.
            BusUnavailable: no acknowledgement; it may or may not have been kept: submit again under the same id.
        """
        return await self._store(door.template, door.at(*keys), body, message_id=message_id, headers=headers)

    async def record(
        self,
        event: Event[Any],
        body: Contract,
        *keys: str,
        message_id: str | None = None,
        expect_last: int | None = None,
    ) -> int:
        """Put a fact into its stream and return its sequence there.

        With `expect_last` it is kept only if the subject's last sequence is that (0: the subject is empty).

        Raises:
            RunFenced: somebody else wrote to the subject meanwhile.
            Overloaded, BusUnavailable: as `submit`.
        """
        headers = {} if expect_last is None else {"Nats-Expected-Last-Subject-Sequence": str(expect_last)}
        ack = await self._store(event.template, event.at(*keys), body, message_id=message_id, headers=headers)
        return ack.seq

    async def tell(self, event: Event[Any], body: Contract, *keys: str) -> None:
        """Publish a fact to whoever listens now."""
        headers: Headers = {}
        data = await self.envelope.pack(body, headers)
        self._sent(event.template, event.at(*keys), headers)
        await self.nc.publish(event.at(*keys), data, headers=headers or None)

    async def say(self, subject: str, body: Contract) -> None:
        """Publish to a subject that the asker named. No span is made: these are streams of small pieces."""
        await self.nc.publish(subject, body.__pydantic_serializer__.to_json(body))

    async def read(self, event: Event[BodyT], message: Msg) -> BodyT:
        """Return the body of a fact that was heard.

        Raises:
            BodyInvalid: it is not what the event says.
            BlobNotFound: it was claim-checked and is gone.
        """
        data = await self.envelope.unpack(message.data, message.headers)
        return read(event.adapter, data, where=message.subject)

    async def _answer(self, door: Command[Any, C], reply: Msg) -> C:
        data = await self.envelope.unpack(reply.data, reply.headers)
        if reply.headers and ERROR_CODE in reply.headers:
            raise read(Failure, data, where=f"failure of {door.template!r}").error()
        return read(door.answer, data, where=f"answer of {door.template!r}")

    async def _store(
        self,
        template: str,
        subject: str,
        body: Contract,
        *,
        message_id: str | None,
        headers: Mapping[str, str] | None,
    ) -> PubAck:
        out: Headers = dict(headers or {})
        if message_id is not None:
            out["Nats-Msg-Id"] = message_id
        data = await self.envelope.pack(body, out)
        self._sent(template, subject, out)
        try:
            return await self.inbox.store(subject, data, out or None)
        except js_errors.APIError as error:
            raise refused(error, subject) from error
        except js_errors.NoStreamResponseError as error:
            raise ServiceNotRunning(
                f"no stream takes {subject!r}", remedy="run `python -m natscope.bus.provision`, or `natscope up`"
            ) from error
        except nats_errors.Error as error:
            raise self._unavailable(error) from error

    def _sent(self, template: str, subject: str, headers: Headers) -> None:
        span = self.telemetry.begin(
            f"publish {template}",
            kind=SpanKind.PRODUCER,
            attributes={
                names.MESSAGING_SYSTEM: "nats",
                names.MESSAGING_OPERATION: "publish",
                names.MESSAGING_OPERATION_TYPE: "send",
                names.MESSAGING_DESTINATION: subject,
                names.MESSAGING_TEMPLATE: template,
            },
        )
        inject(headers, span)
        span.end()
        self.telemetry.count(
            names.SENT_MESSAGES, 1, {names.MESSAGING_SYSTEM: "nats", names.MESSAGING_TEMPLATE: template}
        )

    def _unavailable(self, error: Exception) -> BusUnavailable:
        where = place(self.nc.connected_url.geturl()) if self.nc.connected_url else "NATS"
        return BusUnavailable(f"no answer from {where}: {error or type(error).__name__}", remedy="is the server up?")


def refused(error: js_errors.APIError, subject: str) -> Overloaded | RunFenced | Internal:
    """Return what a JetStream refusal means in our words."""
    if error.err_code == WRONG_LAST_SEQUENCE:
        return RunFenced(f"{subject!r} was written by somebody else meanwhile")
    if error.err_code in STREAM_FULL or error.code == 503:
        return Overloaded(f"the stream of {subject!r} is full: {error.description}", remedy="try again later")
    return Internal(f"JetStream refused {subject!r}: {error.description}")


def unreached(error: Exception, settings: BusSettings) -> BusUnavailable | CredentialRefused:
    """Return what a failed attempt to connect means in our words."""
    if isinstance(error, nats_errors.AuthorizationError) or _VIOLATION in str(error).lower():
        who = f"the password of user {settings.user!r}" if settings.user else "somebody without user and password"
        return CredentialRefused(f"{settings.where} does not accept {who}", remedy="set NATS_USER and NATS_PASSWORD")
    return BusUnavailable(
        f"no NATS server answers at {settings.where}", remedy="start one with `natscope up`, or set NATS_URL"
    )


def check_version(nc: Client, settings: BusSettings) -> None:
    """Return if the server is one that we can work with.

    Raises:
        BusUnavailable: it is older than `LEAST_SERVER`.
    """
    found = nc.connected_server_version
    if (found.major, found.minor) < LEAST_SERVER:
        least = ".".join(map(str, LEAST_SERVER))
        raise BusUnavailable(
            f"the NATS server at {settings.where} is too old: {found.major}.{found.minor}.{found.patch}",
            remedy=f"run nats-server {least} or newer there",
        )


@asynccontextmanager
async def connect(
    name: str, settings: BusSettings | None = None, telemetry: Telemetry | None = None
) -> AsyncGenerator[Bus]:
    """Connect a guest, for as long as the body runs. Reconnects for ever once it was connected.

    Raises:
        BusUnavailable: no server answered within two seconds, or it is older than `LEAST_SERVER`.
        CredentialRefused: the server does not accept us.
    """
    settings = settings or BusSettings()
    nc = Client()
    once: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 1, "error_cb": _note}
    try:
        await nc.connect(**(settings.options(name) | settings.secrets() | once))
    except (nats_errors.Error, OSError, TimeoutError) as error:
        with suppress(AssertionError):  # nats-py's word for a client that got no further than its address
            await nc.close()
        raise unreached(error, settings) from error
    nc.options["allow_reconnect"] = True
    nc.options["max_reconnect_attempts"] = -1
    try:
        check_version(nc, settings)
    except BusUnavailable:
        await nc.close()
        raise
    telemetry = telemetry or telemetry_for(name)
    try:
        yield Bus(nc, telemetry)
    finally:
        await nc.close()
        await asyncio.to_thread(telemetry.close)


async def _note(error: Exception) -> None:
    log.debug("nats reported", extra={"error": repr(error)})

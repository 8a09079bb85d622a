"""Answering: every command gets an answer, and every failure is the asker's exception."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from faststream import AckPolicy
from faststream.nats import NatsMessage, NatsResponse, NatsRouter
from opentelemetry.trace import SpanKind

from natscope.bus.connection import Bus
from natscope.bus.envelope import Headers, failure_headers, read
from natscope.bus.micro import Endpoint
from natscope.contracts.contract import Contract
from natscope.contracts.door import AnswerT, AskT, Command
from natscope.contracts.errors import Failure, NatscopeError
from natscope.telemetry import names
from natscope.telemetry.propagation import extract
from natscope.telemetry.setup import error_type, fail

log = logging.getLogger(__name__)

Handler = Callable[[AskT], Awaitable[AnswerT]]
Say = Callable[[Contract | None], Awaitable[None]]
Conversation = Callable[[AskT, tuple[str, ...], Say], Awaitable[None]]


async def _as_it_came(message: NatsMessage) -> NatsMessage:
    return message


class Doors:
    """The commands of one service, on a FastStream router.

    FastStream takes a message in and hands it on; the call runs in a task of ours, which replies by itself. Its own
    way (`max_workers`) costs five more turns of the event loop a message, and closing it drops what was just delivered.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.router = NatsRouter()
        self.endpoints: list[Endpoint] = []
        self._open = False
        self._running: set[asyncio.Task[Any]] = set()

    def open(self) -> None:
        """Carry calls out side by side from now on.

        Until then each is carried out, and its answer given back, where FastStream hands it on: so its broker in memory
        can be asked.
        """
        self._open = True

    async def finish(self, *, within_s: float) -> None:
        """Return when the calls in flight have ended, or after `within_s`."""
        if self._running:
            await asyncio.wait(self._running, timeout=within_s)

    def answers(
        self,
        door: Command[AskT, AnswerT],
        *,
        workers: int = 64,
        queue: str | None = None,
        key: str | None = None,
        reader: Callable[[bytes], AskT] | None = None,
    ) -> Callable[[Handler[AskT, AnswerT]], Handler[AskT, AnswerT]]:
        """Register the decorated function as the answerer of `door`.

        `workers` calls run at a time. `queue` is the queue group (default: the service's name; "" lets every replica
        answer). `key` restricts it to one key of the door. `reader` replaces the reading of the body as JSON.
        Whatever the function raises is answered as a `Failure`, and its span is ERROR.
        """
        group = door.room if queue is None else queue
        subject = door.at(key) if key is not None else door.wildcard
        endpoint = Endpoint(door.head.replace(".", "-"), subject, group, door.summary)
        self.endpoints.append(endpoint)
        parse: Callable[[bytes], AskT] = reader or (lambda data: read(door.ask, data, where=door.template))

        def register(handler: Handler[AskT, AnswerT]) -> Handler[AskT, AnswerT]:
            async def answer(message: NatsMessage) -> NatsResponse | None:
                body, headers = await self._answer(door, endpoint, message, parse, handler)
                if not self._open:
                    return NatsResponse(body, headers=headers)
                await self._reply(message, body, headers)

            self._hear(endpoint, answer, workers=workers, title=door.template)
            return handler

        return register

    def converses(
        self, door: Command[AskT, AnswerT], *, workers: int = 64, reader: Callable[[bytes], AskT] | None = None
    ) -> Callable[[Conversation[AskT]], Conversation[AskT]]:
        """Register the decorated function as the answerer of `door` that replies as often as it likes.

        It gets the body, the keys of the subject, and a function that sends one reply. Whatever it raises is sent as a
        `Failure`. A conversation of several replies ends with an empty message without headers (`say(None)`).
        """
        endpoint = Endpoint(door.head.replace(".", "-"), door.wildcard, door.room, door.summary)
        self.endpoints.append(endpoint)
        parse: Callable[[bytes], AskT] = reader or (lambda data: read(door.ask, data, where=door.template))

        def register(handler: Conversation[AskT]) -> Conversation[AskT]:
            async def converse(message: NatsMessage) -> None:
                say = self._replier(message)
                endpoint.requests += 1
                sender = extract(message.headers)
                with self.bus.telemetry.span(
                    f"process {door.template}",
                    kind=SpanKind.CONSUMER,
                    attributes=_attributes(door.template, message, endpoint.queue),
                    parent=sender,
                    links=(sender,) if sender else (),
                ) as span:
                    try:
                        data = await self.bus.envelope.unpack(bytes(message.body), message.headers)
                        await handler(parse(data), door.keys_in(message.raw_message.subject), say)
                    except Exception as error:  # noqa: BLE001 - whatever it was, the asker is told
                        fail(span, error)
                        headers: Headers = {"content-type": "application/json"}
                        await self._reply(message, _failed(error, endpoint, headers), headers)

            self._hear(endpoint, converse, workers=workers, title=door.template)
            return handler

        return register

    def _hear(
        self,
        endpoint: Endpoint,
        act: Callable[[NatsMessage], Coroutine[Any, Any, NatsResponse | None]],
        *,
        workers: int,
        title: str,
    ) -> None:
        slots = asyncio.Semaphore(workers)

        def ended(task: asyncio.Task[NatsResponse | None]) -> None:
            self._running.discard(task)
            slots.release()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("an answer could not be sent", extra={"door": endpoint.subject, "reason": repr(error)})

        async def hear(message: NatsMessage) -> NatsResponse | None:
            if not self._open:
                return await act(message)
            await slots.acquire()
            task = asyncio.create_task(act(message))
            self._running.add(task)
            task.add_done_callback(ended)
            return None

        subscriber: Any = self.router.subscriber(
            endpoint.subject,
            queue=endpoint.queue,
            decoder=_as_it_came,
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            title=title,
        )
        subscriber(hear)

    def _replier(self, message: NatsMessage) -> Say:
        async def say(body: Contract | None) -> None:
            headers: Headers = {}
            data = b"" if body is None else await self.bus.envelope.pack(body, headers)
            await self._reply(message, data, headers)

        return say

    async def _reply(self, message: NatsMessage, data: bytes, headers: Headers) -> None:
        if message.reply_to:
            await self.bus.nc.publish(message.reply_to, data, headers=headers or None)

    async def _answer(
        self,
        door: Command[AskT, AnswerT],
        endpoint: Endpoint,
        message: NatsMessage,
        parse: Callable[[bytes], AskT],
        handler: Handler[AskT, AnswerT],
    ) -> tuple[bytes, Headers]:
        began = time.perf_counter_ns()
        endpoint.requests += 1
        sender = extract(message.headers)
        headers: Headers = {"content-type": "application/json"}
        with self.bus.telemetry.span(
            f"process {door.template}",
            kind=SpanKind.CONSUMER,
            attributes=_attributes(door.template, message, endpoint.queue),
            parent=sender,
            links=(sender,) if sender else (),
        ) as span:
            try:
                data = await self.bus.envelope.unpack(bytes(message.body), message.headers)
                answer = await handler(parse(data))
                body = await self.bus.envelope.pack(answer, headers)
            except Exception as error:  # noqa: BLE001 - whatever it was, the asker is told
                fail(span, error)
                body = _failed(error, endpoint, headers)
        spent = time.perf_counter_ns() - began
        endpoint.processing_ns += spent
        self.bus.telemetry.record(
            names.PROCESS_DURATION,
            spent / 1e9,
            {names.MESSAGING_SYSTEM: "nats", names.MESSAGING_TEMPLATE: door.template},
        )
        return body, headers


def _attributes(template: str, message: NatsMessage, queue: str) -> dict[str, str]:
    attributes = {
        names.MESSAGING_SYSTEM: "nats",
        names.MESSAGING_OPERATION: "process",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_DESTINATION: message.raw_message.subject,
        names.MESSAGING_TEMPLATE: template,
    }
    if queue:
        attributes[names.MESSAGING_GROUP] = queue
    return attributes


def _failed(error: Exception, endpoint: Endpoint, headers: Headers) -> bytes:
    endpoint.errors += 1
    endpoint.last_error = error_type(error)
    if isinstance(error, NatscopeError):
        log.warning("refused", extra={"door": endpoint.subject, "code": error.code, "reason": error.message})
    else:
        log.error("failed", extra={"door": endpoint.subject}, exc_info=error)
    failure = Failure.of(error)
    headers.update(failure_headers(failure))
    return failure.model_dump_json().encode()

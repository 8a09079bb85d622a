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
from nats.aio.msg import Msg
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

    FastStream subscribes, describes and closes. What comes over the wire is carried out in a task of ours, which
    replies by itself: FastStream's scopes, middlewares and parsers cost a twelfth of a model call, its `max_workers`
    five more turns of the event loop, and closing it drops what was just delivered. Its broker in memory goes its way.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.router = NatsRouter()
        self.endpoints: list[Endpoint] = []
        self._running: set[asyncio.Task[None]] = set()

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
            async def answer(message: Msg) -> tuple[bytes, Headers]:
                return await self._answer(door, endpoint, message, parse, handler)

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
            async def converse(message: Msg) -> None:
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
                        data = await self.bus.envelope.unpack(message.data, message.headers)
                        await handler(parse(data), door.keys_in(message.subject), say)
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
        act: Callable[[Msg], Coroutine[Any, Any, tuple[bytes, Headers] | None]],
        *,
        workers: int,
        title: str,
    ) -> None:
        slots = asyncio.Semaphore(workers)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            slots.release()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("an answer could not be sent", extra={"door": endpoint.subject, "reason": repr(error)})

        async def carry_out(message: Msg) -> None:
            answer = await act(message)
            if answer is not None:
                await self._reply(message, *answer)

        async def take(message: Msg) -> None:
            await slots.acquire()
            task = asyncio.create_task(carry_out(message))
            self._running.add(task)
            task.add_done_callback(ended)

        async def take_in_memory(message: NatsMessage) -> NatsResponse | None:
            answer = await act(message.raw_message)
            return None if answer is None else NatsResponse(answer[0], headers=answer[1])

        subscriber: Any = self.router.subscriber(
            endpoint.subject,
            queue=endpoint.queue,
            decoder=_as_it_came,
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            title=title,
        )
        subscriber(take_in_memory)
        subscriber.consume = take

    def _replier(self, message: Msg) -> Say:
        async def say(body: Contract | None) -> None:
            headers: Headers = {}
            data = b"" if body is None else await self.bus.envelope.pack(body, headers)
            await self._reply(message, data, headers)

        return say

    async def _reply(self, message: Msg, data: bytes, headers: Headers) -> None:
        if message.reply:
            await self.bus.nc.publish(message.reply, data, headers=headers or None)

    async def _answer(
        self,
        door: Command[AskT, AnswerT],
        endpoint: Endpoint,
        message: Msg,
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
                data = await self.bus.envelope.unpack(message.data, message.headers)
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


def _attributes(template: str, message: Msg, queue: str) -> dict[str, str]:
    attributes = {
        names.MESSAGING_SYSTEM: "nats",
        names.MESSAGING_OPERATION: "process",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_DESTINATION: message.subject,
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

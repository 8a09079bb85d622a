"""The inbox: one subscription for every answer that a process waits for.

nats-py's own `request` does the same, but hands each answer through a queue and a task of its own; here an answer wakes
its asker and nobody else, which halves what a request costs. Each answer has a subject that is drawn by lot: whoever
hears a fact sees where its acknowledgement goes, and must not learn from that where any other answer goes.
"""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import json
import secrets

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from nats.js.api import PubAck, RawStreamMsg

from natscope.bus.envelope import Headers

STORE_TIMEOUT_S = 5.0


class Inbox:
    """Asks over one connection and waits for the answers."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._prefix = ""
        self._opening = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}

    async def request(self, subject: str, data: bytes, *, timeout_s: float, headers: Headers | None = None) -> Msg:
        """Return the first answer to a message.

        Raises:
            NoRespondersError, TimeoutError: nats-py's, as its `request` does.
        """
        reply = await self._ask(subject, data, timeout_s, headers)
        if _is_nobody(reply):
            raise nats_errors.NoRespondersError
        return reply

    async def store(self, subject: str, data: bytes, headers: Headers | None = None) -> PubAck:
        """Put a message into the stream of its subject and return the acknowledgement.

        Raises:
            APIError, NoStreamResponseError, TimeoutError: nats-py's, as its `publish` does.
        """
        return acknowledged(await self._ask(subject, data, STORE_TIMEOUT_S, headers))

    async def look(self, stream: str, subject: str) -> RawStreamMsg | None:
        """Return the last message on `subject` that `stream` keeps, or None.

        Raises:
            APIError, NoRespondersError, TimeoutError: nats-py's, as its `get_msg` does.
        """
        reply = await self.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout_s=STORE_TIMEOUT_S)
        headers = reply.headers or {}
        status = None if reply.data else headers.get("Status")
        if status == "404":
            return None
        if status is not None:
            raise js_errors.APIError(code=int(status), description=headers.get("Description"))
        return RawStreamMsg(
            subject=headers["Nats-Subject"], seq=int(headers["Nats-Sequence"]), data=reply.data, headers=headers
        )

    async def post(self, subject: str, data: bytes, headers: Headers | None = None) -> "asyncio.Future[Msg]":
        """Send a message and return its answer to come; whoever stops waiting for it cancels it."""
        token, answer = await self._send(subject, data, headers)
        answer.add_done_callback(lambda _: self._waiting.pop(token, None))
        return answer

    async def _ask(self, subject: str, data: bytes, timeout_s: float, headers: Headers | None) -> Msg:
        token, answer = await self._send(subject, data, headers)
        alarm = answer.get_loop().call_later(timeout_s, _expire, answer)
        try:
            return await answer
        finally:
            alarm.cancel()
            self._waiting.pop(token, None)

    async def _send(self, subject: str, data: bytes, headers: Headers | None) -> "tuple[str, asyncio.Future[Msg]]":
        if not self._prefix:
            await self._open()
        token = secrets.token_hex(8)
        answer = self._waiting[token] = asyncio.get_running_loop().create_future()
        try:
            await self._nc.publish(subject, data, reply=self._prefix + token, headers=headers)
        except BaseException:
            del self._waiting[token]
            raise
        return token, answer

    async def _open(self) -> None:
        async with self._opening:
            if not self._prefix:
                prefix = f"{self._nc.new_inbox().rpartition('.')[0]}.{secrets.token_hex(11)}."
                await self._nc.subscribe(f"{prefix}*", future=_Slot(self._waiting, len(prefix)))
                self._prefix = prefix


class _Slot(asyncio.Future[Msg]):
    """What nats-py fills with each message of the subscription, at once and without a task; it is never done."""

    def __init__(self, waiting: "dict[str, asyncio.Future[Msg]]", skip: int) -> None:
        super().__init__()
        self._waiting = waiting
        self._skip = skip

    def set_result(self, result: Msg, /) -> None:
        answer = self._waiting.pop(result.subject[self._skip :], None)
        if answer is not None and not answer.done():
            answer.set_result(result)


def acknowledged(reply: Msg) -> PubAck:
    """Return what a stream answered to a message it was sent.

    Raises:
        NoStreamResponseError: no stream takes the subject.
        APIError: the stream refused it.
    """
    if _is_nobody(reply):
        raise js_errors.NoStreamResponseError
    told = json.loads(reply.data)
    if "error" in told:
        raise js_errors.APIError.from_error(told["error"])
    return PubAck(stream=told["stream"], seq=told["seq"], domain=told.get("domain"), duplicate=told.get("duplicate"))


def _is_nobody(reply: Msg) -> bool:
    """Return whether it is the server that says: nobody listens there."""
    return not reply.data and reply.headers is not None and reply.headers.get("Status") == "503"


def _expire(answer: "asyncio.Future[Msg]") -> None:
    if not answer.done():
        answer.set_exception(nats_errors.TimeoutError())

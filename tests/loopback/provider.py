"""A chat completions provider on a free local port, in this process or as a program of its own.

async with Provider() as provider:                 # answers by `turns` unless programmed
    provider.queue(Reply(text="Hello."), failure(503, "down"))
    AsyncOpenAI(base_url=provider.url, api_key="any")
    provider.total, provider.by_body               # how often it was asked, in all and per request body

python -m tests.loopback.provider --port 8801      # prints its URL; GET /_/count, POST /_/queue, POST /_/reset
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Protocol, Self

import uvloop
from aiohttp import web

from tests.loopback import chat_wire, media_wire
from tests.loopback.replies import EVENTS, JSON, Call, Reply

Request = dict[str, Any]
Answer = Callable[[Request], Reply]

ARGUMENTS = {"execute_python": '{"code": "print(6 * 7)"}', "execute_shell": '{"command": "echo 42"}'}


def turns(request: Request) -> Reply:
    """Answer with a call of the first tool offered, and once its result is there with a final text."""
    tools = request.get("tools")
    last_user = max((i for i, each in enumerate(request["messages"]) if each["role"] == "user"), default=0)
    answered = any(each["role"] == "tool" for each in request["messages"][last_user:])
    if not tools or answered:
        return Reply(text="The answer is 42.")
    name = tools[0]["function"]["name"]
    return Reply(calls=(Call(name, ARGUMENTS.get(name, "{}")),))


class Wire(Protocol):
    """How a provider's API looks: a module of this folder."""

    def is_streamed(self, path: str, body: Request) -> bool:
        """Return whether a request asks for a stream."""
        ...

    def unary(self, reply: Reply) -> bytes:
        """Return the body of an answer in one piece."""
        ...

    def events(self, reply: Reply) -> tuple[bytes, ...]:
        """Return the events of a streamed answer, framed."""
        ...


class Provider:
    """The server. Every POST counts, whatever it is answered."""

    def __init__(self, answer: Answer = turns, *, wire: Wire = chat_wire, port: int = 0, delay_s: float = 0) -> None:
        self._answer = answer
        self._wire = wire
        self._port = port
        self._delay_s = delay_s
        self._queue: deque[Reply] = deque()
        self._runner: web.ServerRunner | None = None
        self.total = 0
        self.by_body: Counter[str] = Counter()
        self.requests: deque[Request] = deque(maxlen=64)
        self.headers: deque[dict[str, str]] = deque(maxlen=64)
        self.abandoned = 0
        """How many answers the other side did not wait for."""
        self.was_asked = asyncio.Event()
        self.was_abandoned = asyncio.Event()
        self.may_end = asyncio.Event()
        """While it is not set, neither an answer in one piece nor the last piece of a stream is sent."""
        self.may_end.set()

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self._serve, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base URL that an OpenAI client takes."""
        return f"http://127.0.0.1:{self._port}/v1"

    def queue(self, *replies: Reply) -> None:
        """Answer the next requests with these, in this order, before anything else."""
        self._queue.extend(replies)

    def reset(self) -> None:
        """Forget every count and every queued reply."""
        self.total = self.abandoned = 0
        for memory in (self.by_body, self._queue, self.requests, self.headers):
            memory.clear()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.path.startswith("/_/"):
            return self._steer(request.path, body)
        self.total += 1
        self.was_asked.set()
        self.by_body[hashlib.sha256(body).hexdigest()[:16]] += 1
        media = media_wire.takes(request.path)
        kind = request.headers.get("content-type", JSON)
        asked: Request = media_wire.asked(body, kind) if media else json.loads(body or b"{}")
        self.requests.append(asked)
        self.headers.append(dict(request.headers))
        if self._queue:
            reply = self._queue.popleft()
        else:
            reply = media_wire.answer(request.path, asked) if media else self._answer(asked)
        try:
            streamed = not media and self._wire.is_streamed(request.path, asked)
            return await self._send(request, reply, streamed=streamed)
        except (asyncio.CancelledError, ConnectionError):
            self.abandoned += 1
            self.was_abandoned.set()
            raise

    async def _send(self, request: web.BaseRequest, reply: Reply, *, streamed: bool) -> web.StreamResponse:
        if wait := reply.delay_s or self._delay_s:
            await asyncio.sleep(wait)
        if reply.reset:
            return _hang_up(request, web.StreamResponse())
        if reply.status == 200 and streamed and not reply.whole:
            return await self._stream(request, reply)
        await self.may_end.wait()
        headers = {"content-type": reply.content_type or JSON, **dict(reply.headers)}
        if reply.cut_after is None and not reply.stall_s:
            return web.Response(status=reply.status, body=self._wire.unary(reply), headers=headers)
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.content_length = len(self._wire.unary(reply))
        await response.prepare(request)
        await asyncio.sleep(reply.stall_s)
        await response.write(self._wire.unary(reply)[: reply.cut_after])
        if reply.cut_after is None:
            return response
        return _hang_up(request, response)

    async def _stream(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        headers = {"content-type": reply.content_type or EVENTS, **dict(reply.headers)}
        response = web.StreamResponse(status=200, headers=headers)
        await response.prepare(request)
        await asyncio.sleep(reply.stall_s)
        frames = self._wire.events(reply)[: reply.cut_after]
        *pieces, last = _pieces(frames, reply)
        for each in pieces:
            await asyncio.sleep(reply.pace_s)
            await response.write(each)
        await self.may_end.wait()
        await asyncio.sleep(reply.pace_s)
        await response.write(last)
        if reply.cut_after is not None:
            return _hang_up(request, response)
        await response.write_eof()
        return response

    def _steer(self, path: str, body: bytes) -> web.Response:
        if path == "/_/queue":
            self.queue(*map(reply_of, json.loads(body)))
        elif path == "/_/reset":
            self.reset()
        elif path != "/_/count":
            return web.Response(status=404)
        return web.json_response({"total": self.total, "by_body": self.by_body, "abandoned": self.abandoned})


def _pieces(frames: tuple[bytes, ...], reply: Reply) -> tuple[bytes, ...]:
    """Return what is written at a time; there is always one piece, if an empty one."""
    whole = b"".join(frames)
    if size := reply.rechunk:
        return tuple(whole[i : i + size] for i in range(0, len(whole), size)) or (whole,)
    return (frames if reply.pace_s else ()) or (whole,)


def _hang_up(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return response


def reply_of(value: dict[str, Any]) -> Reply:
    """Return the reply that a JSON object describes, field by field."""
    fields = dict(value)
    fields["calls"] = tuple(Call(**call) for call in fields.get("calls", ()))
    if "raw" in fields:
        fields["raw"] = fields["raw"].encode()
    for pair in ("tokens", "headers"):
        if pair in fields:
            fields[pair] = tuple(map(tuple, fields[pair])) if pair == "headers" else tuple(fields[pair])
    return Reply(**fields)


async def serve(port: int, delay_s: float) -> None:
    """Serve until the process is ended."""
    async with Provider(port=port, delay_s=delay_s) as provider:
        print(provider.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve on the given port, 0 for any free one; the first line printed is the base URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.loopback.provider", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer's headers")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(options.port, options.delay))


if __name__ == "__main__":
    main()

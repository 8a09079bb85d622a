"""The executor's end of connections that programs make inside a cell: an HTTP proxy that knows CONNECT alone.

They come over the line of the cell (sandbox/worker/tunnels.py): it needs no network to reach what the gate lets it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.tool_executor.cells import CellLost
from services.tool_executor.frames import Frame
from services.tool_executor.gate import Gate, NotLetOut

log = logging.getLogger(__name__)

Send = Callable[[Mapping[str, Any], bytes], Awaitable[None]]

MOST = 32
"""Connections of one cell at a time: more than its worker carries, for those that are just ending."""
CHUNK = 64 << 10
HEAD_BYTES = 8 << 10
HEAD_S = 10.0
IDLE_S = 120.0
"""A connection on which nothing comes back for so long is closed."""
_AHEAD = 4
"""A worker sends one chunk before it has word that it was taken; more is no worker of ours."""


class Tunnels:
    """The connections of one cell."""

    def __init__(self, gate: Gate, send: Send) -> None:
        self._gate = gate
        self._send = send
        self._open: dict[int, _Tunnel] = {}

    def hear(self, frame: Frame) -> bool:
        """Take in what the worker says of a connection; return whether the frame is of that kind."""
        if frame.event != "tunnel":
            return False
        number, what = int(frame.header.get("id", 0)), frame.header.get("what")
        if what == "open" and len(self._open) < MOST and number not in self._open:
            tunnel = self._open[number] = _Tunnel(self._gate, self._send, number)
            tunnel.task.add_done_callback(lambda _: self._open.pop(number, None))
        elif number in self._open:
            self._open[number].hear(str(what), frame.payload)
        return True

    async def close(self) -> None:
        """Close every connection."""
        tasks = [tunnel.task for tunnel in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Tunnel:
    """One connection, from the program's CONNECT to the end of either side."""

    def __init__(self, gate: Gate, send: Send, number: int) -> None:
        self._gate = gate
        self._send = send
        self._number = number
        self._said: asyncio.Queue[bytes] = asyncio.Queue(_AHEAD)
        self._taken = asyncio.Event()
        self.task = asyncio.create_task(self._serve())

    def hear(self, what: str, payload: bytes) -> None:
        """Take in a chunk, the word that one of ours was taken, or the end."""
        if what == "more":
            self._taken.set()
        elif what == "data" and payload and not self._said.full():
            self._said.put_nowait(payload)
        else:
            self.task.cancel()

    async def _serve(self) -> None:
        try:
            with contextlib.suppress(CellLost):
                await self._proxy()
                await self._send({"op": "tunnel", "id": self._number, "what": "end"}, b"")
        except Exception:
            log.exception("a connection of a cell broke")

    async def _proxy(self) -> None:
        try:
            async with asyncio.timeout(HEAD_S):
                target, rest = await self._head()
            reader, writer = await self._gate.open(target)
        except TimeoutError:
            await self._answer("408 Request Timeout", "no request")
        except NotLetOut as refusal:
            log.warning("a cell was not let out", extra={"reason": str(refusal)})
            await self._answer(f"{refusal.status} Refused", str(refusal))
        else:
            await self._carry(reader, writer, rest)

    async def _head(self) -> tuple[str, bytes]:
        """Return the target of the program's request, and what it has sent after it."""
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > HEAD_BYTES:
                raise NotLetOut(431, "a request of more than 8 KiB")
            data += await self._next()
        head, _, rest = data.partition(b"\r\n\r\n")
        match head.split(b"\r\n", 1)[0].split(b" "):
            case [b"CONNECT", target, b"HTTP/1.0" | b"HTTP/1.1"]:
                return target.decode("ascii", "replace"), rest
            case _:
                raise NotLetOut(405, "this proxy knows CONNECT alone: ask for https")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes) -> None:
        there = asyncio.create_task(self._out(writer, rest))
        try:
            await self._say(b"HTTP/1.1 200 Connected\r\n\r\n")
            with contextlib.suppress(OSError, TimeoutError):
                while data := await asyncio.wait_for(reader.read(CHUNK), IDLE_S):
                    await self._say(data)
        finally:
            writer.close()
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)

    async def _out(self, writer: asyncio.StreamWriter, rest: bytes) -> None:
        """Send on what the program sends; a host that does not take it any more ends what it sends, too."""
        with contextlib.suppress(OSError):
            writer.write(rest)
            while True:
                writer.write(await self._next())
                await writer.drain()

    async def _next(self) -> bytes:
        data = await self._said.get()
        await self._send({"op": "tunnel", "id": self._number, "what": "more"}, b"")
        return data

    async def _say(self, data: bytes) -> None:
        """Send the program a chunk; returns when it has taken it."""
        self._taken.clear()
        await self._send({"op": "tunnel", "id": self._number, "what": "data"}, data)
        await self._taken.wait()

    async def _answer(self, status: str, text: str) -> None:
        body = f"{text}\n".encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n\r\n"
        await self._say(head.encode() + body)

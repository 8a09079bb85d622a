"""The line to one worker: a request at a time, each with a nonce that no program in the cell ever sees."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from services.tool_executor.cells import CellLost
from services.tool_executor.frames import BadFrame, Frame, FrameReader, encode
from services.tool_executor.gate import Gate
from services.tool_executor.tunnels import Tunnels

log = logging.getLogger(__name__)


class Pipe(Protocol):
    """Bytes to and from the worker's standard input and output."""

    async def read(self) -> bytes:
        """Return what has arrived; empty once the worker is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            OSError: the worker is gone.
        """
        ...

    async def close(self) -> None:
        """Let go of the line; the worker ends itself and everything in its cell when it notices."""
        ...


class Line:
    """Frames over a pipe. The worker is lost for good when the pipe ends or says something that is no frame."""

    def __init__(self, pipe: Pipe, gate: Gate | None = None) -> None:
        """`gate` is the way out for programs in the cell; None: a worker that speaks of one is not ours."""
        self._pipe = pipe
        self._tunnels = Tunnels(gate, self.send) if gate else None
        self._frames: asyncio.Queue[list[Frame]] = asyncio.Queue()
        self._busy = asyncio.Lock()
        self._nonce = ""
        self.lost = False
        self._reading = asyncio.create_task(self._read())

    async def ready(self, *, within_s: float) -> Mapping[str, Any]:
        """Return the worker's greeting.

        Raises:
            CellLost: it said nothing, or something else, within `within_s`.
        """
        try:
            async with asyncio.timeout(within_s):
                frames = await self._next()
        except TimeoutError:
            raise CellLost(f"the worker did not greet within {within_s:g} s") from None
        if frames[0].event != "ready":
            raise CellLost(f"the worker greeted with {frames[0].event!r}")
        return frames[0].header

    @asynccontextmanager
    async def request(self, header: Mapping[str, Any], payload: bytes = b"") -> AsyncGenerator["Conversation"]:
        """Send a request when it is its turn; the body reads the answers.

        Raises:
            CellLost: the worker is gone.
        """
        async with self._busy:
            if self.lost:
                raise CellLost("the cell has ended")
            self._nonce = secrets.token_hex(8)
            await self.send({**header, "nonce": self._nonce}, payload)
            yield Conversation(self, self._nonce)

    async def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send one frame.

        Raises:
            CellLost: the worker is gone.
        """
        try:
            await self._pipe.write(encode(header, payload))
        except OSError as error:
            self.lost = True
            raise CellLost("the line to the cell broke") from error

    async def close(self) -> None:
        """Stop reading and let go of the pipe."""
        self.lost = True
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        if self._tunnels is not None:
            await self._tunnels.close()
        await self._pipe.close()

    async def _next(self) -> list[Frame]:
        if self.lost and self._frames.empty():
            raise CellLost("the cell has ended")
        frames = await self._frames.get()
        if not frames:
            raise CellLost("the cell has ended")
        return frames

    async def _read(self) -> None:
        reader = FrameReader()
        try:
            while data := await self._pipe.read():
                frames = [frame for frame in reader.feed(data) if not (self._tunnels and self._tunnels.hear(frame))]
                if frames:
                    self._frames.put_nowait(frames)
        except (BadFrame, OSError) as error:
            log.warning("line lost", extra={"reason": repr(error)})
        finally:
            self.lost = True
            self._frames.put_nowait([])


class Conversation:
    """The answers to one request."""

    def __init__(self, line: Line, nonce: str) -> None:
        self._line = line
        self._nonce = nonce

    async def answers(self) -> list[Frame]:
        """Return the answers that have come meanwhile, at least one.

        Raises:
            CellLost: the worker is gone, or an answer does not carry this request's nonce.
        """
        frames = await self._line._next()
        for frame in frames:
            if frame.header.get("nonce") != self._nonce:
                self._line.lost = True
                raise CellLost("an answer without the request's nonce: the cell is not to be trusted")
        return frames

    async def cancel(self) -> None:
        """Ask the worker to end what it does for this request."""
        await self._line.send({"op": "cancel", "nonce": self._nonce})

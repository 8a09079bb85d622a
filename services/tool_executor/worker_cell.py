"""A cell with our worker in it, whatever its walls are made of."""

import asyncio
import codecs
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from services.tool_executor.cells import (
    Captured,
    CellLost,
    FileFacts,
    FileRefused,
    Hear,
    Outcome,
    Program,
    RunLimits,
    Stream,
)
from services.tool_executor.frames import Frame
from services.tool_executor.line import Conversation, Line

log = logging.getLogger(__name__)

CHUNK = 512 << 10
"""Bytes of a file per frame."""
GRACE_S = 3.0
"""How long after a deadline the worker may take to say so before its whole cell is ended."""
FILE_S = 20.0


class WorkerCell:
    """Implements `Cell` over a `Line`; `remove` takes the walls down."""

    def __init__(self, line: Line, *, remove: Callable[[], Awaitable[None]], process_limits: Mapping[str, Any]) -> None:
        self._line = line
        self._remove = remove
        self._process_limits = dict(process_limits)
        self._closed = False

    @property
    def lost(self) -> bool:
        """True once the cell has ended."""
        return self._line.lost

    async def run(self, program: Program, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        """Run `program`; see `Cell.run`."""
        source = program.source.encode("utf-8", "surrogatepass")
        request = {"op": "run", "kind": program.language, "limits": self._limits(limits)}
        listening = _Listening(limits.output_bytes, hear)
        async with self._line.request(request, source) as conversation:
            try:
                async with asyncio.timeout(limits.wall_clock.total_seconds() + GRACE_S):
                    return await listening.to_the_end(conversation)
            except TimeoutError:
                log.error("worker missed a deadline", extra={"limit_s": limits.wall_clock.total_seconds()})
                await self.close()
                return listening.cut_off(limits.wall_clock)
            except asyncio.CancelledError:
                await asyncio.shield(self._stop(conversation, listening))
                raise

    async def put_file(self, path: str, data: bytes) -> None:
        """Write `data` to `path`; see `Cell.put_file`."""
        for offset in range(0, max(len(data), 1), CHUNK):
            piece = data[offset : offset + CHUNK]
            await self._ask({"op": "write", "path": path, "offset": offset}, piece)

    async def read_file(self, path: str, *, limit_bytes: int = 16 << 20) -> bytes:
        """Return the bytes of `path`; see `Cell.read_file`."""
        data = bytearray()
        while True:
            frame = await self._ask({"op": "read", "path": path, "offset": len(data), "size": CHUNK})
            size = int(frame.header["size"])
            if size > limit_bytes:
                raise FileRefused("too_large", f"{path!r} has {size} bytes, over the limit of {limit_bytes}")
            data += frame.payload
            if not frame.payload or len(data) >= size:
                return bytes(data)

    async def has_file(self, path: str) -> bool:
        """Return whether there is a regular file at `path`."""
        try:
            await self._ask({"op": "read", "path": path, "offset": 0, "size": 0})
        except FileRefused:
            return False
        return True

    async def list_files(self) -> tuple[FileFacts, ...]:
        """Return the regular files of the workspace; see `Cell.list_files`."""
        frame = await self._ask({"op": "list"})
        return tuple(FileFacts(str(item["path"]), int(item["size"])) for item in json.loads(frame.payload))

    async def close(self) -> None:
        """Take the cell down, once."""
        if self._closed:
            return
        self._closed = True
        await self._line.close()
        await self._remove()

    def _limits(self, limits: RunLimits) -> dict[str, Any]:
        wanted = {**self._process_limits, "wall_s": limits.wall_clock.total_seconds()}
        wanted["output_bytes"] = limits.output_bytes
        if limits.memory_bytes is not None:
            wanted["memory_watch_bytes"] = min(limits.memory_bytes, wanted.get("memory_watch_bytes", 1 << 62))
        return wanted

    async def _ask(self, request: Mapping[str, Any], payload: bytes = b"") -> Frame:
        """Return the worker's answer; a caller that goes away meanwhile leaves the line in order."""
        frame = await asyncio.shield(self._exchange(request, payload))
        if frame.event == "refused":
            raise FileRefused(str(frame.header["code"]), str(frame.header["text"]))
        return frame

    async def _exchange(self, request: Mapping[str, Any], payload: bytes) -> Frame:
        async with self._line.request(request, payload) as conversation:
            try:
                async with asyncio.timeout(FILE_S):
                    return (await conversation.answers())[0]
            except TimeoutError:
                await self.close()
                raise CellLost(f"no answer to {request['op']!r} within {FILE_S:g} s") from None

    async def _stop(self, conversation: Conversation, listening: "_Listening") -> None:
        try:
            async with asyncio.timeout(GRACE_S):
                await conversation.cancel()
                await listening.to_the_end(conversation)
        except (TimeoutError, CellLost):
            await self.close()


class _Listening:
    """Collects what a run says until it is done; keeps no more than the limit, whatever the worker sends."""

    def __init__(self, limit: int, hear: Hear | None) -> None:
        self._limit = limit
        self._hear = hear
        self._heads: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._tails: dict[Stream, bytes] = {}
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder("replace") for name in self._heads}

    async def to_the_end(self, conversation: Conversation) -> Outcome:
        """Return the outcome when it comes.

        Raises:
            CellLost: the worker is gone before that.
        """
        while True:
            for frame in _joined(await conversation.answers()):
                if frame.event == "done":
                    return self._outcome(frame.header)
                await self._take(frame)

    def cut_off(self, after: timedelta) -> Outcome:
        """Return the outcome of a run whose worker does not answer any more."""
        stdout, stderr = (Captured(bytes(self._heads[name])) for name in ("stdout", "stderr"))
        return Outcome(None, 9, stdout, stderr, after, timed_out=True)

    async def _take(self, frame: Frame) -> None:
        name: Stream = "stderr" if frame.header.get("stream") == "stderr" else "stdout"
        if frame.event == "tail":
            self._tails[name] = frame.payload[-self._limit :]
            return
        head = self._heads[name]
        head += frame.payload[: self._limit - len(head)]
        if self._hear is not None:
            text = self._decoders[name].decode(frame.payload)
            if text:
                await self._hear(name, text)

    def _outcome(self, header: Mapping[str, Any]) -> Outcome:
        dropped: Mapping[str, int] = header.get("dropped", {})
        captured = {
            name: Captured(bytes(head), self._tails.get(name, b""), int(dropped.get(name, 0)))
            for name, head in self._heads.items()
        }
        return Outcome(
            exit_code=header.get("exit_code"),
            signal=header.get("signal"),
            stdout=captured["stdout"],
            stderr=captured["stderr"],
            duration=timedelta(seconds=float(header.get("duration_s", 0.0))),
            cpu_s=float(header.get("cpu_s", 0.0)),
            timed_out=bool(header.get("timed_out")),
            out_of_memory=bool(header.get("out_of_memory")),
            cancelled=bool(header.get("cancelled")),
        )


def _joined(frames: list[Frame]) -> list[Frame]:
    """Return `frames` with neighbouring pieces of the same output made one, so that a listener hears fewer of them."""
    joined: list[Frame] = []
    for frame in frames:
        last = joined[-1] if joined else None
        if last is not None and frame.event == "output" and last.header == frame.header:
            joined[-1] = Frame(frame.header, last.payload + frame.payload)
        else:
            joined.append(frame)
    return joined

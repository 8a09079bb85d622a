"""A cell with our worker in it, whatever its walls are made of."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.tool_executor.cells import CellLost, FileRefused, Hear, Outcome, Program, RunLimits
from services.tool_executor.frames import Frame
from services.tool_executor.line import Conversation, Line
from services.tool_executor.listening import Listening
from services.tool_executor.worker_files import WorkerFiles

log = logging.getLogger(__name__)

GRACE_S = 25.0
"""How long after a deadline the worker may take to say so before its whole cell is ended, and its files with it. It
needs a tenth of a second for a fork bomb on a quiet machine, and many seconds on one that is busy."""
FILE_S = 20.0


class WorkerCell(WorkerFiles):
    """Implements `Cell` over a `Line`; `remove` takes the walls down."""

    def __init__(
        self,
        line: Line,
        *,
        remove: Callable[[], Awaitable[None]],
        process_limits: Mapping[str, Any],
        grace_s: float = GRACE_S,
    ) -> None:
        self._line = line
        self._grace_s = grace_s
        self._remove = remove
        self._process_limits = dict(process_limits)
        self._closed = False

    @property
    def lost(self) -> bool:
        """True once the cell has ended."""
        return self._line.lost

    async def run(self, program: Program, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        """Run `program`; see `Cell.run`."""
        kind = "stateful" if program.stateful and program.language == "python" else program.language
        return await self._perform(kind, program.source.encode("utf-8", "surrogatepass"), limits, hear)

    async def close(self) -> None:
        """Take the cell down, once."""
        if self._closed:
            return
        self._closed = True
        await self._line.close()
        await self._remove()

    async def _perform(self, kind: str, body: bytes, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        request = {"op": "run", "kind": kind, "limits": self._limits(limits)}
        listening = Listening(limits.output_bytes, hear)
        async with self._line.request(request, body) as conversation:
            try:
                async with asyncio.timeout(limits.wall_clock.total_seconds() + self._grace_s):
                    return await listening.to_the_end(conversation)
            except TimeoutError:
                log.error("worker missed a deadline", extra={"limit_s": limits.wall_clock.total_seconds()})
                await self.close()
                return listening.cut_off(limits.wall_clock)
            except asyncio.CancelledError:
                await asyncio.shield(self._stop(conversation, listening))
                raise

    def _limits(self, limits: RunLimits) -> dict[str, Any]:
        wanted = {**self._process_limits, "wall_s": limits.wall_clock.total_seconds()}
        wanted["output_bytes"] = limits.output_bytes
        if limits.memory_bytes is not None:
            wanted["memory_watch_bytes"] = min(limits.memory_bytes, wanted.get("memory_watch_bytes", 1 << 62))
        if limits.open_files is not None:
            wanted["open_files"] = min(limits.open_files, wanted.get("open_files", 1 << 30))
        watched = {"cpu_s": limits.cpu_s, "processes": limits.processes}
        watched |= {"disk_bytes": limits.disk_bytes, "files": limits.files}
        wanted["watch"] = {name: value for name, value in watched.items() if value is not None}
        return wanted

    async def _ask(self, request: Mapping[str, Any], payload: bytes = b"") -> Frame:
        """Return the worker's answer; a caller that goes away meanwhile leaves the line in order."""
        frame = await asyncio.shield(self._exchange(request, payload))
        if frame.event == "refused":
            text, path = str(frame.header["text"]), request.get("path")
            named = path is None or repr(path) in text
            raise FileRefused(str(frame.header["code"]), text if named else f"{text}, at {path!r}")
        return frame

    async def _exchange(self, request: Mapping[str, Any], payload: bytes) -> Frame:
        async with self._line.request(request, payload) as conversation:
            try:
                async with asyncio.timeout(FILE_S):
                    return (await conversation.answers())[0]
            except TimeoutError:
                await self.close()
                raise CellLost(f"no answer to {request['op']!r} within {FILE_S:g} s") from None

    async def _stop(self, conversation: Conversation, listening: Listening) -> None:
        try:
            async with asyncio.timeout(self._grace_s):
                await conversation.cancel()
                await listening.to_the_end(conversation)
        except (TimeoutError, CellLost):
            await self.close()

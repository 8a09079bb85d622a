"""The process of one monty cell: runs programs in interpreters of its own, and answers in frames as a worker does.

What monty's threads and crashes do stays in here. It ends by a signal to its process group, with its interpreters.
"""

import asyncio
import os
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pydantic_monty import AsyncMonty, AsyncMontySession, MontyCrashedError, MontyError, ResourceLimits

from services.tool_executor.frames import Frame, FrameReader, encode

MAX_RECURSION = 500
LAST_RESORT_S = 3600.0
"""CPU time after which an interpreter ends by itself, should everybody be dead who could end it."""
_READ = 64 << 10


def main() -> NoReturn:
    """Serve one cell, whose interpreters have as much memory as the first argument says, until the input ends."""
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        asyncio.run(Host(int(sys.argv[1]), out).serve())
    finally:
        end_group()


def end_group() -> NoReturn:
    """End this process and its interpreters, at once and without the interpreter's own way out."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


@dataclass
class _Ending:
    """How a run ended."""

    exit_code: int | None = 0
    signal: int | None = None
    facts: dict[str, bool] = field(default_factory=dict[str, bool])

    @classmethod
    def killed(cls, number: int = 9, **facts: bool) -> "_Ending":
        return cls(None, number, facts)


class _Stream:
    """Says the first part of a stream as it comes, and keeps the last part."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self._room = limit - limit // 2
        self._tail_limit = limit // 2
        self.tail = bytearray()
        self.dropped = 0

    def take(self, data: bytes) -> bytes:
        """Take `data` in and return what is to be said now."""
        head, rest = data[: self._room], data[self._room :]
        self._room -= len(head)
        self.tail += rest
        over = len(self.tail) - self._tail_limit
        if over > 0:
            self.dropped += over
            del self.tail[:over]
        return head


class _Run:
    """One program's output and limits."""

    def __init__(self, request: Frame, out: int) -> None:
        self._out = out
        self.nonce = request.header["nonce"]
        self.kind: str = request.header["kind"]
        self.limits: dict[str, Any] = request.header["limits"]
        self.source = request.payload.decode("utf-8", "surrogatepass")
        self._streams = {name: _Stream(name, self.limits["output_bytes"]) for name in ("stdout", "stderr")}
        self._began = time.monotonic()

    def hear(self, stream: str, text: str) -> None:
        """Take in what the program says; monty's own thread calls this."""
        head = self._streams[stream].take(text.encode("utf-8", "replace"))
        if head:
            self._say({"event": "output", "stream": stream}, head)

    def finish(self, ending: _Ending, variables: str | None) -> None:
        """Say the rest, and how it ended."""
        for stream in self._streams.values():
            if stream.tail:
                self._say({"event": "tail", "stream": stream.name}, bytes(stream.tail))
        done = {"event": "done", "exit_code": ending.exit_code, "signal": ending.signal, "variables": variables}
        dropped = {stream.name: stream.dropped for stream in self._streams.values()}
        self._say({**done, **ending.facts, "dropped": dropped, "duration_s": time.monotonic() - self._began})

    def _say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        write(self._out, {**header, "nonce": self.nonce}, payload)


def write(out: int, header: dict[str, Any], payload: bytes = b"") -> None:
    """Write a whole frame."""
    view = memoryview(encode(header, payload))
    while view:
        view = view[os.write(out, view) :]


class Host:
    """Interpreters of one cell: a fresh one for each program, and one that lasts."""

    def __init__(self, memory_bytes: int, out: int) -> None:
        self._memory_bytes = memory_bytes
        self._out = out
        self._pool = AsyncMonty(min_processes=0, max_processes=2)
        self._lasting: AsyncMontySession | None = None
        self._had_variables = False
        self._running: tuple[_Run, asyncio.Task[None]] | None = None

    async def serve(self) -> None:
        """Answer requests until the input ends."""
        async with self._pool:
            asked: asyncio.Queue[Frame] = asyncio.Queue()
            loop = asyncio.get_running_loop()
            listener = threading.Thread(target=_listen, args=(loop, asked), daemon=True)
            listener.start()
            write(self._out, {"event": "ready"})
            while True:
                self._take(await asked.get())

    def _take(self, frame: Frame) -> None:
        if frame.header["op"] == "run":
            run = _Run(frame, self._out)
            task = asyncio.create_task(self._perform(run))
            task.add_done_callback(_or_end)
            self._running = run, task
        elif self._running is not None and self._running[0].nonce == frame.header["nonce"]:
            self._running[1].cancel()

    async def _perform(self, run: _Run) -> None:
        if run.kind == "stateful":
            await self._perform_lasting(run)
            return
        session = await self._checked_out(run)
        try:
            run.finish(await _fed(session, run, show_value=False), None)
        finally:
            await _returned(session)

    async def _perform_lasting(self, run: _Run) -> None:
        variables = "kept" if self._lasting else "lost" if self._had_variables else "new"
        if self._lasting is None:
            self._lasting = await self._checked_out(run)
            self._had_variables = True
        ending = await _fed(self._lasting, run, show_value=True)
        if ending.signal is not None or ending.facts.get("out_of_memory"):
            await _returned(self._lasting)
            self._lasting = None
        run.finish(ending, variables)

    async def _checked_out(self, run: _Run) -> AsyncMontySession:
        memory = min(run.limits.get("memory_watch_bytes", self._memory_bytes), self._memory_bytes)
        kept: ResourceLimits = {"max_memory": memory, "max_recursion_depth": MAX_RECURSION}
        kept["max_feed_duration_secs"] = LAST_RESORT_S
        return await self._pool.checkout(limits=kept).__aenter__()


async def _fed(session: AsyncMontySession, run: _Run, *, show_value: bool) -> _Ending:
    try:
        async with asyncio.timeout(run.limits["wall_s"]):
            value = await session.feed_run(run.source, print_callback=run.hear)
    except TimeoutError:
        return _Ending.killed(timed_out=True)
    except asyncio.CancelledError:
        return _Ending.killed(cancelled=True)
    except MontyCrashedError as error:
        run.hear("stderr", f"{error}\n")
        found = re.search(r"signal: (\d+)", str(error))
        return _Ending.killed(int(found[1]) if found else 6)
    except MontyError as error:
        run.hear("stderr", f"{error.display() if hasattr(error, 'display') else error}\n")  # pyright: ignore[reportAttributeAccessIssue]
        return _Ending(1, facts={"out_of_memory": str(error).startswith("MemoryError: memory limit")})
    if show_value and value is not None:
        run.hear("stdout", f"{value!r}\n")
    return _Ending()


async def _returned(session: AsyncMontySession) -> None:
    try:
        await session.__aexit__(None, None, None)
    except (MontyError, RuntimeError):
        return


def _or_end(task: asyncio.Task[None]) -> None:
    """End the cell if a run ended without an answer: no further one would be right."""
    if task.cancelled() or task.exception() is not None:
        sys.stderr.write(f"monty: {'cancelled' if task.cancelled() else repr(task.exception())}\n")
        end_group()


def _listen(loop: asyncio.AbstractEventLoop, asked: "asyncio.Queue[Frame]") -> None:
    """Pass on what is asked; in a thread, for not every system lets an event loop read a child's input."""
    reader = FrameReader()
    try:
        while data := os.read(0, _READ):
            for frame in reader.feed(data):
                loop.call_soon_threadsafe(asked.put_nowait, frame)
    finally:
        end_group()


if __name__ == "__main__":
    main()

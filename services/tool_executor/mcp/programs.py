"""A server that is a child process: lines to and from it, its last words, and an end that leaves nothing behind."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from natscope.contracts.errors import ToolUnavailable

log = logging.getLogger(__name__)

LINE_BYTES = 32 << 20
"""A longer line is no message."""
WORDS_BYTES = 2000
"""Kept of what it says on standard error: the end."""
WORDS_S = 0.3
CLOSE_S = 1.0
"""How long it has to end by itself once its standard input is closed."""
KILL_S = 3.0
PASSED_ON = ("HOME", "LANG", "PATH", "SYSTEMROOT", "TERM", "TMPDIR", "USER")

_WARDEN = Path(__file__).with_name("warden.py")
_READ = 256 << 10


@dataclass(frozen=True)
class Program:
    """What is to be started."""

    command: Sequence[str]
    env: Mapping[str, str]
    """Besides `PASSED_ON`."""
    folder: str | None = None


class LineTooLong(Exception):
    """The program writes without an end of line."""


class Speaking(Protocol):
    """A program that has been started, wherever that is."""

    def lines(self) -> AsyncIterator[bytes]:
        """Give what it writes, line by line, until it writes no more.

        Raises:
            LineTooLong: a line is over 32 MiB.
        """
        ...

    async def write(self, line: bytes) -> None:
        """Send one line.

        Raises:
            OSError: it does not listen any more.
        """
        ...

    async def last_words(self) -> str:
        """Return the end of what it has said on standard error; one that is ending may finish its sentence."""
        ...


class Running:
    """A started program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._words = bytearray()
        self._listening = asyncio.create_task(self._listen())

    def lines(self) -> AsyncIterator[bytes]:
        """Give what it writes; see `Speaking`."""
        stdout = self._process.stdout
        assert stdout is not None
        return lines_of(lambda: stdout.read(_READ))

    async def write(self, line: bytes) -> None:
        """Send one line; see `Speaking`."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()

    async def last_words(self) -> str:
        """Return the end of what it has said on standard error; see `Speaking`."""
        await asyncio.wait([self._listening], timeout=WORDS_S)
        return self._words.decode("utf-8", "replace").strip()

    async def end(self) -> None:
        """Have it end itself, then end it and everything it has started. Returns within a few seconds."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, RuntimeError):
            self._process.stdin.close()
        draining = asyncio.create_task(self._drain())
        if not await self._ended(CLOSE_S):
            self._signal(signal.SIGTERM)
            if not await self._ended(KILL_S):
                self._signal(signal.SIGKILL)
                await self._ended(KILL_S)
        for task in (self._listening, draining):
            task.cancel()
        await asyncio.gather(self._listening, draining, return_exceptions=True)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _ended(self, within_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._process.wait()
        return self._process.returncode is not None

    async def _drain(self) -> None:
        """Read what nobody wants any more: a pipe that is not read to its end is never closed."""
        assert self._process.stdout is not None
        while await self._process.stdout.read(_READ):
            pass

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._words += data
            del self._words[:-WORDS_BYTES]


@asynccontextmanager
async def running(program: Program) -> AsyncGenerator[Running]:
    """Run `program` for as long as the body runs; nothing it has started is left after that, however the body ends.

    Raises:
        ToolUnavailable: it cannot be started.
    """
    process = await _started(program)
    found = Running(process)
    try:
        yield found
    finally:
        await to_the_end(asyncio.create_task(found.end()))


async def lines_of(read: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """Give the lines of what `read` returns, until that is nothing.

    Raises:
        LineTooLong: a line is over 32 MiB.
    """
    rest = bytearray()
    while data := await read():
        start, rest_size = 0, len(rest)
        rest += data
        while (end := rest.find(b"\n", max(start, rest_size))) >= 0:
            yield bytes(rest[start:end])
            start, rest_size = end + 1, 0
        del rest[:start]
        if len(rest) > LINE_BYTES:
            raise LineTooLong


async def _started(program: Program) -> asyncio.subprocess.Process:
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    guarded = () if sys.platform == "win32" else (sys.executable, "-I", "-S", str(_WARDEN), str(os.getpid()))
    try:
        return await asyncio.create_subprocess_exec(
            *guarded,
            *program.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**inherited, **program.env},
            cwd=program.folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ToolUnavailable(f"{program.command[0]!r} cannot be started: {error}") from error


async def to_the_end(closing: asyncio.Task[None]) -> None:
    """Wait for `closing`, which is bounded, also if whoever waits is cancelled meanwhile."""
    cancelled = False
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            cancelled = True
    closing.result()
    if cancelled:
        raise asyncio.CancelledError

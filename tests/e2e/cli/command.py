"""A started command and what came of it."""

import asyncio
import json
import signal
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Command:
    """A running command."""

    process: asyncio.subprocess.Process

    async def done(self, typed: str = "") -> Ended:
        """Type something, wait for the end, and return it; a traceback is never right."""
        async with asyncio.timeout(150):
            out, err = await self.process.communicate(typed.encode())
        ended = Ended(self.process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in ended.err, ended.err
        return ended

    async def line(self, wanted: str) -> str:
        """Return the next line of standard output that has `wanted` in it."""
        return await _line(self.process.stdout, wanted)

    async def note(self, wanted: str) -> str:
        """Return the next line of standard error that has `wanted` in it; it is not in what `done` returns."""
        return await _line(self.process.stderr, wanted)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)


async def _line(stream: asyncio.StreamReader | None, wanted: str) -> str:
    assert stream is not None
    async with asyncio.timeout(150):
        while line := (await stream.readline()).decode():
            if wanted in line:
                return line
    raise AssertionError(f"ended without {wanted!r}")

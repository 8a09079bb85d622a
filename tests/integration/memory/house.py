"""Replicas of the memory service, and what is said to them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from natscope.bus import Bus, BusSettings
from natscope.contracts import memory
from natscope.contracts.errors import Unavailable
from natscope.contracts.message import Message
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.memory.app import app
from services.memory.settings import Settings

T = TypeVar("T")
ROOT = Path(__file__).parents[3]
SILENT = telemetry_for("test", TelemetrySettings.model_construct(endpoint=None, disabled=True))


class Rooms:
    """Replicas in this process."""

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Open one more replica."""
        silent = telemetry_for("memory", TelemetrySettings.model_construct(endpoint=None, disabled=True))
        await self._stack.enter_async_context(app(Settings(), bus=self._settings, telemetry=silent))

    async def close(self) -> None:
        """Close all replicas."""
        await self._stack.aclose()
        self._stack = AsyncExitStack()


class Process:
    """A replica in a process of its own."""

    def __init__(self, url: str) -> None:
        environment = os.environ | {"NATS_URL": url, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.memory"], cwd=ROOT, env=environment, stderr=subprocess.PIPE
        )

    async def ready(self) -> "Process":
        """Return when it says that it is open."""
        assert self._process.stderr is not None
        while line := await asyncio.to_thread(self._process.stderr.readline):
            if b'"open"' in line:
                return self
        raise RuntimeError("the memory service ended")

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self._process.terminate()
        return self._end()

    def _end(self) -> int:
        assert self._process.stderr is not None
        code = self._process.wait(20)
        self._process.stderr.close()
        return code


def batch(*ids: str, size: int = 0) -> list[Message]:
    """Return one user message for each id."""
    return [
        Message.model_validate({"id": id, "name": "ann", "role": "user", "content": f"says {id} {'x' * size}".strip()})
        for id in ids
    ]


async def append(bus: Bus, session: str, *ids: str, deadline_s: float | None = None) -> memory.Appended:
    """Append one message for each id."""
    asked = memory.Append(session=session, messages=batch(*ids))
    return await bus.ask(memory.APPEND, asked, deadline_s=deadline_s)


async def recall(bus: Bus, session: str, *, last: int | None = None, upto: memory.Position | None = None) -> list[str]:
    """Return the ids of what is recalled."""
    asked = memory.Recall(session=session, last=last, upto=upto)
    return [message.id for message in (await bus.ask(memory.RECALL, asked)).messages]


async def insist(act: Callable[[], Awaitable[T]], *, within_s: float = 30) -> T:
    """Return what `act` returns; where it is unavailable, try again, as every caller does."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await act()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)

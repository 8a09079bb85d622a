"""Our tool executor as a contender: a process of its own, asked through NATS."""

import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.streams import StreamSettings, provision
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.bench.processes import cpu_s
from tests.nats_server import NatsServer

QUIET = {"NATSCOPE_LOG_LEVEL": "WARNING", "LOG_LEVEL": "WARNING", "OTEL_SDK_DISABLED": "true"}


@dataclass
class Took:
    """What a round of one kind of work took."""

    took_ms: list[float] = field(default_factory=list[float])
    right: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of the executor's process; the programs themselves are the engine's children."""


class Executor:
    """Asks the tool executor; each program has a call id that nobody had before."""

    def __init__(self, bus: Bus, pid: int) -> None:
        self._bus = bus
        self._pid = pid
        self._count = itertools.count()
        self._mark = uuid.uuid4().hex[:8]
        self.offers_state = False

    async def ready(self) -> None:
        """Return when it offers to run programs."""
        specs: list[tool.ToolSpec] = []
        async with asyncio.timeout(120):
            while not specs:
                hosts = await self._bus.ask_all(tool.LIST, tool.List(), wait_s=0.2)
                specs = [spec for host in hosts for spec in host.tools if spec.name == "execute_python"]
        self.offers_state = any("stateful" in str(spec.parameters) for spec in specs)

    async def run(self, code: str, session: str, *, cell: tool.CellMode = "session", stateful: bool = False) -> bool:
        """Run `code` and return whether it went well."""
        arguments: dict[str, JsonValue] = {"code": code, "stateful": True} if stateful else {"code": code}
        use = ToolUseBlock(id="c1", name="execute_python", input=arguments)
        ask = tool.Call(call_id=f"{self._mark}-{next(self._count)}", call=use, session=session, cell=cell)
        called = await self._bus.ask(tool.CALL, ask, "execute_python", deadline_s=60)
        return called.result.state == "success"

    async def work(self, codes: list[str], concurrency: int, *, stateful: bool = False) -> Took:
        """Run all `codes`, `concurrency` at a time, each of these in a session of its own."""
        took, left = Took(), list(reversed(codes))
        before, began = cpu_s([self._pid]), time.perf_counter()

        async def one_after_the_other(session: str) -> None:
            while left:
                start, code = time.perf_counter(), left.pop()
                right = await self.run(code, session, stateful=stateful)
                took.right += right
                took.took_ms.append(1000 * (time.perf_counter() - start))

        await asyncio.gather(*(one_after_the_other(f"s-{n}") for n in range(concurrency)))
        took.wall_s, took.cpu_s = time.perf_counter() - began, cpu_s([self._pid]) - before
        return took

    async def virgins(self, per_s: float, seconds: float) -> Took:
        """Ask for a cell of its own for each program, so many times per second, whatever became of those before."""
        took = Took()
        before, began = cpu_s([self._pid]), time.perf_counter()

        async def one(at: float) -> None:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            start = time.perf_counter()
            right = await self.run("print(1)", "one-shot", cell="one_shot")
            took.right += right
            took.took_ms.append(1000 * (time.perf_counter() - start))

        await asyncio.gather(*(one(began + n / per_s) for n in range(int(per_s * seconds))))
        took.wall_s, took.cpu_s = time.perf_counter() - began, cpu_s([self._pid]) - before
        return took

    async def cold(self, times: int) -> Took:
        """Run the first program of new sessions."""
        took = Took()
        for _ in range(times):
            session, start = f"cold-{uuid.uuid4().hex[:8]}", time.perf_counter()
            right = await self.run("print(1)", session)
            took.right += right
            took.took_ms.append(1000 * (time.perf_counter() - start))
            await self._bus.tell(tool.ENDED, tool.Ended(session=session), session)
        return took


@asynccontextmanager
async def executor(image: str) -> AsyncGenerator[Executor]:
    """A tool executor with a server of its own, for as long as the body runs."""
    silent = telemetry_for("bench", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    with tempfile.TemporaryDirectory(prefix="natscope-bench-") as folder:
        server = NatsServer(Path(folder) / "nats").start()
        known = {"NATS_URL": server.url, "TOOL_EXECUTOR_IMAGE": image, "TOOL_EXECUTOR_BACKEND": "docker"}
        known["TOOL_EXECUTOR_PLATFORM"] = f"bench-{uuid.uuid4().hex[:8]}"
        try:
            async with connect("bench", BusSettings.model_construct(url=server.url), silent) as bus:
                await provision(bus.js, StreamSettings())
                process = subprocess.Popen(  # noqa: ASYNC220 - begun once, before anything is measured
                    [sys.executable, "-m", "services.tool_executor"], env={**os.environ, **QUIET, **known}
                )
                try:
                    asked = Executor(bus, process.pid)
                    await asked.ready()
                    yield asked
                finally:
                    process.terminate()
                    await asyncio.to_thread(process.wait, 60)
        finally:
            server.stop()

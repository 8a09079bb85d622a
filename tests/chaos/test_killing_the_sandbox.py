"""kill -9 of the executor, of workers and of containers while programs run: one answer to each call, nothing left."""

import asyncio
import os
import random
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import NatscopeError

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "natscope-sandbox:dev"
KILLS = int(os.environ.get("NATSCOPE_KILLS", "20"))
SESSIONS = 3
LABEL = "natscope.platform"
CODE = "import time\nprint('begun', flush=True)\ntime.sleep(0.3)\nopen('/tmp/left', 'w').write('x')\nprint('done')"


@dataclass
class Stage:
    """An executor of a house of its own, and the engine that its cells are at."""

    bus: Bus
    engine: docker.DockerClient
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the executor."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.tool_executor"], env=self.environment, cwd=ROOT
        )

    async def ready(self) -> None:
        """Return when it answers."""
        async with asyncio.timeout(30):
            while not await self.bus.ask_all(tool.LIST, tool.List(), wait_s=0.2):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    def cells(self) -> list[Container]:
        """Return the house's containers."""
        label = f"{LABEL}={self.environment['TOOL_EXECUTOR_PLATFORM']}"
        return self.engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)

    async def kill(self, what: str) -> None:
        """Kill one thing of the house."""
        if what == "executor":
            assert self.process is not None
            self.process.kill()
            self.process.wait()
            self.start()
            await self.ready()
            return
        cells = await asyncio.to_thread(self.cells)
        if cells:
            chosen = random.choice(cells)
            act = chosen.kill if what == "worker" else lambda: chosen.remove(force=True)
            try:
                await asyncio.to_thread(act)
            except docker.errors.APIError:
                return

    async def stop(self) -> None:
        """End the executor politely."""
        assert self.process is not None
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, 30)


@pytest.fixture
async def stage(nats_url: str) -> AsyncIterator[Stage]:
    """An executor that runs, with cells of Docker."""
    try:
        engine = docker.from_env(timeout=60)
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    if not engine.images.list(IMAGE):
        pytest.skip(f"the engine has no image {IMAGE} (make sandbox-image)")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}", "NATS_URL": nats_url}
    environment |= {"TOOL_EXECUTOR_BACKEND": "docker", "TOOL_EXECUTOR_IMAGE": IMAGE}
    environment["TOOL_EXECUTOR_PLATFORM"] = f"test-{uuid.uuid4().hex[:8]}"
    async with connect("guest", BusSettings(url=nats_url)) as bus:
        found = Stage(bus, engine, environment)
        found.start()
        try:
            await found.ready()
            yield found
        finally:
            await found.stop()
            for cell in found.cells():
                cell.remove(force=True)
            engine.close()


async def call(bus: Bus, id: str, session: str) -> str:
    """Return the one state that a call came to, asking again under its id while nobody answers."""
    use = ToolUseBlock(id="c1", name="execute_python", input={"code": CODE})
    ask = tool.Call(call_id=id, call=use, session=session)
    for _ in range(8):
        try:
            return (await bus.ask(tool.CALL, ask, "execute_python", deadline_s=10)).result.state
        except NatscopeError as error:
            if error.code not in ("deadline_exceeded", "service_unavailable", "unavailable"):
                return error.code
            await asyncio.sleep(0.1)
    return "unanswered"


@pytest.mark.docker
class TestKillingTheSandbox:
    @pytest.mark.timeout(60 + 15 * KILLS)
    async def test_every_call_is_answered_once_and_nothing_is_left(self, stage: Stage) -> None:
        states: Counter[str] = Counter()
        over = asyncio.Event()

        async def ask_on(session: str) -> None:
            number = 0
            while not over.is_set():
                id = f"{session}-{number}"
                states[state := await call(stage.bus, id, session)] += 1
                number += 1
                if state in ("success", "unknown"):
                    assert await call(stage.bus, id, session) == state

        async with asyncio.TaskGroup() as asking:
            for n in range(SESSIONS):
                asking.create_task(ask_on(f"s{n}"))
            for _ in range(KILLS):
                await asyncio.sleep(random.uniform(0.1, 0.6))
                await stage.kill(random.choices(("executor", "worker", "container"), weights=(1, 3, 3))[0])
            over.set()
        print(f"{KILLS} kills: {dict(states)}")
        assert "unanswered" not in states
        assert states["success"]
        await stage.stop()
        assert await asyncio.to_thread(stage.cells) == []

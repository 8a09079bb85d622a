"""What becomes of calls and of the pool when the engine dies, hangs, and comes back."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.backends import choose_backend
from services.tool_executor.cells import CellLost, Program, RunLimits
from services.tool_executor.docker_cells import PLATFORM, DockerCells
from services.tool_executor.docker_engine import Engine
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.doorsteps import Doorstep
from services.tool_executor.owner import Owner
from services.tool_executor.pool import Pool
from services.tool_executor.sessions import Sessions
from services.tool_executor.settings import Settings
from tests.integration.tool_executor.engine_proxy import EngineProxy

LONG = timedelta(minutes=5)
HELLO = Program("python", "print('hello')")
pytestmark = pytest.mark.docker


async def nobody_lives(instance: str) -> bool:
    return False


async def full(pool: Pool, size: int, *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while pool.ready != size:  # noqa: ASYNC110 - cells become ready in the engine's own time
            await asyncio.sleep(0.02)


@pytest.fixture
def engine_at(tmp_path: Path) -> Iterator[EngineProxy]:
    """A proxy that this process takes for the engine."""
    proxy, before = EngineProxy(tmp_path / "engine.sock"), os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = proxy.address
    yield proxy
    os.environ.pop("DOCKER_HOST")
    if before is not None:
        os.environ["DOCKER_HOST"] = before


@pytest.fixture
async def pool(engine_at: EngineProxy, image: str, platform: str) -> AsyncIterator[Pool]:
    """A full pool of two, whose engine is the proxy."""
    await engine_at.restore()
    settings = Settings(backend="docker", image=image, platform=platform)
    made = Pool(await choose_backend(settings, instance=uuid.uuid4().hex), size=2, fresh_for=LONG)
    made.fill()
    await full(made, 2, seconds=90)
    yield made
    await engine_at.restore()
    await made.close()
    await engine_at.cut()


@pytest.fixture
async def sessions(pool: Pool) -> AsyncIterator[Sessions]:
    """The sessions of an executor with that pool."""
    made = Sessions(pool, max_cells=8, idle_after=LONG)
    yield made
    await made.close()


async def hello(sessions: Sessions, session: str) -> str:
    async with sessions.workspace(session) as workspace:
        return (await workspace.cell.run(HELLO, RunLimits())).stdout.text


class CutAtStart(Engine):
    """An engine that goes while a container is being started."""

    def __init__(self, door: EngineProxy) -> None:
        super().__init__()
        self._door = door

    async def start(self, id: str, doorstep: Path | None = None) -> None:
        await self._door.cut()
        await super().start(id, doorstep)


class LateCreate(Engine):
    """An engine that goes while a container is being created, and creates it all the same when it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.late: asyncio.Task[str] | None = None
        self._looked_at = asyncio.Event()

    async def create(
        self, settings: DockerSettings, labels: Mapping[str, str], doorstep: Doorstep | None = None
    ) -> str:
        async def create() -> str:
            await self._looked_at.wait()
            return await super(LateCreate, self).create(settings, labels)

        self.late = asyncio.create_task(create())
        raise SandboxUnavailable("the engine does not answer")

    async def labelled(self, label: str) -> list[Mapping[str, Any]]:
        found = await super().labelled(label)
        self._looked_at.set()
        return found


class TestLeftovers:
    async def test_a_container_that_is_created_after_nobody_waited_for_it_is_removed_at_the_end(
        self, engine: docker.DockerClient, image: str, platform: str
    ) -> None:
        settings = DockerSettings.of(Settings(backend="docker", image=image, platform=platform))
        late = LateCreate()
        cells = DockerCells(settings, Owner.here("me"), late)
        with pytest.raises(SandboxUnavailable):
            await cells.open_cell("s")
        assert late.late is not None
        await cells.close()
        with pytest.raises(docker.errors.NotFound):
            engine.containers.get(await late.late)

    async def test_a_container_that_could_not_be_removed_is_removed_when_the_engine_is_back(
        self, engine_at: EngineProxy, engine: docker.DockerClient, image: str, platform: str
    ) -> None:
        def left() -> int:
            return len(engine.containers.list(all=True, filters={"label": f"{PLATFORM}={platform}"}))

        await engine_at.restore()
        settings = DockerSettings.of(Settings(backend="docker", image=image, platform=platform))
        cells = DockerCells(settings, Owner.here("me"), CutAtStart(engine_at))
        for lost in (1, 2):
            with pytest.raises(SandboxUnavailable):
                await cells.open_cell("s")
            await engine_at.restore()
            assert left() == 1, "the control: there is one that was never started"
            if lost == 1:
                assert await cells.reap(nobody_lives) == 1
                assert left() == 0
        await cells.close()
        assert left() == 0
        await engine_at.cut()


class TestTheStart:
    @pytest.mark.parametrize("comes_back", [True, False])
    async def test_waits_a_little_for_an_engine_that_does_not_answer(
        self, engine_at: EngineProxy, image: str, platform: str, comes_back: bool
    ) -> None:
        await engine_at.restore()
        await engine_at.hang()
        settings = Settings(backend="docker", image=image, platform=platform)
        choosing = asyncio.create_task(choose_backend(settings, instance="me"))
        if comes_back:
            await asyncio.sleep(0.1)
            await engine_at.restore()
        backend = await choosing
        assert backend.name == ("docker" if comes_back else "none")
        await backend.close()
        await engine_at.cut()


class TestLoss:
    @pytest.mark.parametrize("loss", ["cut", "hang"])
    async def test_a_session_is_told_soon_and_served_when_the_engine_is_back(
        self, sessions: Sessions, pool: Pool, engine_at: EngineProxy, loss: str
    ) -> None:
        assert await hello(sessions, "s") == "hello\n", "the control: the engine is there"
        await (engine_at.cut() if loss == "cut" else engine_at.hang())
        for session in ("s", "new"):
            began = time.monotonic()
            with pytest.raises((SandboxUnavailable, CellLost)):
                await hello(sessions, session)
            assert time.monotonic() - began < 30, "a second, and many for a busy machine"
        await engine_at.restore()
        await full(pool, 2, seconds=90)
        assert await hello(sessions, "s") == "hello\n"

    async def test_a_program_in_progress_is_told_as_lost_at_once(
        self, sessions: Sessions, engine_at: EngineProxy
    ) -> None:
        begun = asyncio.Event()

        async def hear(_stream: object, _text: str) -> None:
            begun.set()

        async def sleeper() -> None:
            async with sessions.workspace("s") as workspace:
                await workspace.cell.run(
                    Program("python", "print(1, flush=True)\nimport time; time.sleep(60)"), RunLimits(), hear
                )

        running = asyncio.create_task(sleeper())
        await begun.wait()
        began = time.monotonic()
        await engine_at.cut()
        with pytest.raises(CellLost):
            await running
        assert time.monotonic() - began < 30


class TestARestart:
    async def test_has_every_cell_replaced_though_nobody_asks_for_one(
        self, sessions: Sessions, pool: Pool, engine_at: EngineProxy, engine: docker.DockerClient, platform: str
    ) -> None:
        def cells() -> dict[str, Container]:
            found = engine.containers.list(all=True, filters={"label": f"{PLATFORM}={platform}"}, ignore_removed=True)
            return {str(each.id): each for each in found}

        assert await hello(sessions, "s") == "hello\n"
        await full(pool, 2, seconds=90)
        before = cells()
        assert len(before) == 3
        await engine_at.cut()
        for each in before.values():
            with contextlib.suppress(docker.errors.APIError):  # it ends by itself, too
                each.kill()
        with pytest.raises((SandboxUnavailable, CellLost)):
            await hello(sessions, "s")
        assert not cells().keys() - before.keys(), "it was told while the engine was away"
        await engine_at.restore()
        async with asyncio.timeout(90):
            while len(cells().keys() - before.keys()) < 2:  # noqa: ASYNC110 - cells are made in the engine's own time
                await asyncio.sleep(0.05)
        await full(pool, 2, seconds=90)
        assert await hello(sessions, "s") == "hello\n"
        await pool.reap(nobody_lives)
        assert not cells().keys() & before.keys()

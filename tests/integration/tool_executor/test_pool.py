"""A pool of cells on real backends: ready before anybody asks, each handed out once."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import docker
import pytest

from natscope.contracts.errors import Overloaded, SandboxUnavailable
from services.tool_executor.backends import choose_backend
from services.tool_executor.cells import Backend, Cell, Program, RunLimits
from services.tool_executor.docker_cells import PLATFORM
from services.tool_executor.pool import Pool
from services.tool_executor.sessions import Recycle, Sessions
from services.tool_executor.settings import Settings

LONG = timedelta(minutes=5)
MARK = "import pathlib; p = pathlib.Path('mark'); print(p.exists()); p.write_text('used')"


async def full(pool: Pool, size: int, *, seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while pool.ready != size:  # noqa: ASYNC110 - cells become ready in the engine's own time
            await asyncio.sleep(0.02)


async def marks(cell: Cell) -> str:
    """Return whether the cell was used before, and use it."""
    outcome = await cell.run(Program("python", MARK), RunLimits())
    return outcome.stdout.text.strip()


class FailingAtFirst:
    """A backend of which some cells die in the making, one after the other."""

    def __init__(self, backend: Backend, *, times: int) -> None:
        self._backend = backend
        self._times = times
        self.name, self.does_not_limit = backend.name, backend.does_not_limit
        self.reap, self.close = backend.reap, backend.close

    async def open_cell(self, session: str) -> Cell:
        self._times -= 1
        if self._times >= 0:
            raise SandboxUnavailable("a container started, but its worker did not answer")
        return await self._backend.open_cell(session)


@pytest.fixture
async def pool(backend: Backend) -> AsyncIterator[Pool]:
    """A pool of two, full."""
    made = Pool(backend, size=2, fresh_for=LONG)
    made.fill()
    await full(made, 2)
    yield made
    await made.close()


class TestPool:
    async def test_a_ready_cell_is_handed_out_without_waiting_for_the_backend(self, pool: Pool) -> None:
        opening = asyncio.create_task(pool.open_cell("s"))
        await asyncio.sleep(0)
        assert opening.done(), "its first step is its last"
        assert await marks(opening.result()) == "False"

    async def test_it_is_full_again_after_cells_were_taken(self, pool: Pool) -> None:
        await pool.open_cell("a")
        await pool.open_cell("b")
        await full(pool, 2)

    async def test_no_cell_is_handed_out_twice(self, pool: Pool) -> None:
        cells = await asyncio.gather(*(pool.open_cell(str(at)) for at in range(5)))
        assert len({id(cell) for cell in cells}) == 5
        assert await asyncio.gather(*map(marks, cells)) == ["False"] * 5
        assert await marks(cells[0]) == "True", "the control: a used cell shows its mark"

    async def test_who_gives_up_waiting_takes_no_cell_along(self, pool: Pool) -> None:
        held = [await pool.open_cell("a"), await pool.open_cell("b")]
        waiting = [asyncio.create_task(pool.open_cell("late")) for _ in range(2)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waiting, return_exceptions=True)
        )
        await full(pool, 2)
        assert not any(cell.lost for cell in held)

    async def test_a_cell_that_died_waiting_is_replaced_and_not_handed_out(self, pool: Pool) -> None:
        first, second = await pool.open_cell("a"), await pool.open_cell("b")
        await full(pool, 2)
        await first.close()
        waiting = [cell for _, cell in pool._ready]
        await waiting[0].close()
        taken = await pool.open_cell("c")
        assert taken is waiting[1]
        assert await marks(taken) == "False"
        await full(pool, 2)
        assert not second.lost

    @pytest.mark.parametrize("times", [2, 3])
    async def test_a_cell_that_died_in_the_making_is_made_again_twice(self, backend: Backend, times: int) -> None:
        pool = Pool(FailingAtFirst(backend, times=times), size=1, fresh_for=LONG)
        if times == 2:
            assert await marks(await pool.open_cell("s")) == "False"
        else:
            with pytest.raises(SandboxUnavailable):
                await pool.open_cell("s")
        await pool.close()

    async def test_a_cell_that_waited_too_long_is_replaced(self, backend: Backend) -> None:
        pool = Pool(backend, size=1, fresh_for=timedelta(seconds=1))
        pool.fill()
        await full(pool, 1)
        first = pool._ready[0][1]
        async with asyncio.timeout(60):
            while not (first.lost and pool.ready):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await pool.close()


@pytest.mark.docker
class TestContainers:
    async def test_closing_the_pool_leaves_no_container(
        self, engine: docker.DockerClient, image: str, platform: str
    ) -> None:
        settings = Settings(backend="docker", image=image, platform=platform)
        pool = Pool(await choose_backend(settings, instance=uuid.uuid4().hex), size=3, fresh_for=LONG)
        pool.fill()
        await full(pool, 2)
        await pool.close()
        assert not engine.containers.list(all=True, filters={"label": f"{PLATFORM}={platform}"})


class TestOneShot:
    async def test_each_call_has_a_cell_that_nobody_used(self, pool: Pool) -> None:
        sessions = Sessions(pool, max_cells=4, idle_after=LONG)
        for _ in range(4):
            async with sessions.virgin() as workspace:
                assert await marks(workspace.cell) == "False"
        async with sessions.workspace("s") as workspace:
            assert await marks(workspace.cell) == "False"
        async with sessions.workspace("s") as workspace:
            assert await marks(workspace.cell) == "True", "the control: a session keeps its cell"
        await sessions.close()

    async def test_the_cell_is_thrown_away_after_its_call(self, pool: Pool) -> None:
        sessions = Sessions(pool, max_cells=4, idle_after=LONG)
        async with sessions.virgin() as workspace:
            cell = workspace.cell
        async with asyncio.timeout(60):
            while not cell.lost:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await sessions.close()

    async def test_calls_stand_in_line_when_the_pool_is_empty(self, pool: Pool) -> None:
        sessions = Sessions(pool, max_cells=16, idle_after=LONG)

        async def one() -> str:
            async with sessions.virgin() as workspace:
                return await marks(workspace.cell)

        assert await asyncio.gather(*(one() for _ in range(8))) == ["False"] * 8
        await sessions.close()

    async def test_a_call_that_waited_too_long_is_refused(self, pool: Pool) -> None:
        sessions = Sessions(pool, max_cells=1, idle_after=LONG, one_shot_wait=timedelta(seconds=0.2))
        async with sessions.virgin():
            with pytest.raises(Overloaded):
                async with sessions.virgin():
                    raise AssertionError("there was a cell")
        async with sessions.virgin() as workspace:
            assert await marks(workspace.cell) == "False"
        await sessions.close()


class TestRecycling:
    async def test_a_session_gets_a_new_cell_after_so_many_calls(self, pool: Pool) -> None:
        sessions = Sessions(pool, max_cells=4, idle_after=LONG, recycle=Recycle(after_runs=2))
        seen: list[str] = []
        for _ in range(4):
            async with sessions.workspace("s") as workspace:
                seen.append(await marks(workspace.cell))
        assert seen == ["False", "True", "False", "True"]
        await sessions.close()

    async def test_a_session_gets_a_new_cell_after_so_long(self, pool: Pool) -> None:
        sessions = Sessions(pool, max_cells=4, idle_after=LONG, recycle=Recycle(after=timedelta(seconds=0.2)))
        async with sessions.workspace("s") as workspace:
            assert await marks(workspace.cell) == "False"
        await asyncio.sleep(0.3)
        async with sessions.workspace("s") as workspace:
            assert await marks(workspace.cell) == "False"
        await sessions.close()

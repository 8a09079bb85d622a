"""Sessions and their cells, where several things happen at the same time."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta

from services.tool_executor.cells import Cell
from services.tool_executor.sessions import Sessions
from tests.doors.tool_executor.fakes import FakeBackend, FakeCell


@dataclass
class SlowCell(FakeCell):
    """Takes its time to be removed."""

    may_close: asyncio.Event = field(default_factory=asyncio.Event)

    async def close(self) -> None:
        self.lost = True
        await self.may_close.wait()
        await super().close()


class SlowToClose(FakeBackend):
    """Cells take their time to be removed, and to be made; counts how many there are at once."""

    def __init__(self) -> None:
        super().__init__(name="slow")
        self.may_close = asyncio.Event()
        self.most = 0

    async def open_cell(self, session: str) -> Cell:
        await asyncio.sleep(0)
        self.cells.append(SlowCell(session=session, may_close=self.may_close))
        self.most = max(self.most, sum(not each.lost for each in self.cells))
        return self.cells[-1]


async def use(sessions: Sessions, session: str, until: Awaitable[object] | None = None) -> None:
    async with sessions.workspace(session):
        if until is not None:
            await until


class TestSessions:
    async def test_one_that_is_used_again_is_not_removed_as_idle_while_others_are(self) -> None:
        backend = SlowToClose()
        sessions = Sessions(backend, max_cells=4, idle_after=timedelta(0))
        await use(sessions, "first")
        await use(sessions, "second")
        culling = asyncio.create_task(sessions.cull())
        await asyncio.sleep(0)
        done = asyncio.Event()
        using = asyncio.create_task(use(sessions, "second", done.wait()))
        await asyncio.sleep(0)
        backend.may_close.set()
        assert await culling == 1
        assert sessions.holds("second")
        done.set()
        await using
        assert await sessions.cull() == 1

    async def test_never_have_more_cells_than_are_allowed_however_many_come_at_once(self) -> None:
        backend = SlowToClose()
        sessions = Sessions(backend, max_cells=2, idle_after=timedelta(minutes=1))
        await use(sessions, "a")
        await use(sessions, "b")
        done = asyncio.Event()
        using = [asyncio.create_task(use(sessions, name, done.wait())) for name in ("c", "d")]
        await asyncio.sleep(0)
        backend.may_close.set()
        for _ in range(20):
            await asyncio.sleep(0)
        done.set()
        await asyncio.gather(*using)
        assert backend.most == 2

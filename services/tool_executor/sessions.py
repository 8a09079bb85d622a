"""One cell per session, used by one call at a time and removed when it is over or idle; or one for a single call."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from natscope.contracts.errors import Overloaded
from services.tool_executor.cells import Backend, Cell, CellLost

log = logging.getLogger(__name__)


@dataclass
class Workspace:
    """A session's cell as its calls see it."""

    cell: Cell
    placed: set[str] = field(default_factory=set[str])
    """Names of attached files that are known to be there, or gone for good."""
    runs: int = 0
    opened_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Recycle:
    """When a session gets a new cell though its old one is sound; its files are gone then."""

    after_runs: int | None = None
    after: timedelta | None = None

    def due(self, workspace: Workspace) -> bool:
        """Return whether the workspace has been used enough."""
        old = self.after is not None and time.monotonic() - workspace.opened_at >= self.after.total_seconds()
        return old or (self.after_runs is not None and workspace.runs >= self.after_runs)


@dataclass
class _Seat:
    """A session's place among the cells, whether it has one at the moment or not."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    workspace: Workspace | None = None
    waiting: int = 0
    used_at: float = 0.0


class Sessions:
    """The cells of this process, by session."""

    def __init__(
        self,
        backend: Backend,
        *,
        max_cells: int,
        idle_after: timedelta,
        one_shot_wait: timedelta = timedelta(seconds=30),
        recycle: Recycle | None = None,
    ) -> None:
        self._backend = backend
        self._one_shot_wait_s = one_shot_wait.total_seconds()
        self._recycle = recycle or Recycle()
        self._one_shots = asyncio.Semaphore(max_cells)
        self._ending: set[asyncio.Task[None]] = set()
        self._max_cells = max_cells
        self._idle_after_s = idle_after.total_seconds()
        self._seats: dict[str, _Seat] = {}
        self._opening = 0

    @asynccontextmanager
    async def workspace(self, session: str) -> AsyncGenerator[Workspace]:
        """Give the session's workspace to the body, alone; a lost cell is thrown away and the next call gets a new one.

        Raises:
            Overloaded: every cell is in use by another session.
            SandboxUnavailable: no cell can be made.
        """
        seat = self._seats.setdefault(session, _Seat())
        seat.waiting += 1
        try:
            async with seat.turn:
                workspace = await self._ensure(session, seat)
                try:
                    yield workspace
                finally:
                    workspace.runs += 1
                    seat.used_at = time.monotonic()
                    if workspace.cell.lost or self._recycle.due(workspace):
                        self._vacate(seat)
        finally:
            seat.waiting -= 1
            self._forget(session, seat)

    @asynccontextmanager
    async def virgin(self) -> AsyncGenerator[Workspace]:
        """Give a cell to the body that nobody has used and nobody will use again.

        It stands in line when there is none; the cell is removed after the body has gone on.

        Raises:
            Overloaded: none came free for so long.
            SandboxUnavailable: no cell can be made.
        """
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._one_shot_wait_s):
                    await held.enter_async_context(self._one_shots)
                    cell = await self._backend.open_cell("one-shot")
            except TimeoutError:
                raise Overloaded(
                    f"no cell came free within {self._one_shot_wait_s:g} s",
                    remedy="ask again later, or raise TOOL_EXECUTOR_POOL or the number of tool executors",
                ) from None
            try:
                yield Workspace(cell)
            finally:
                self._end(cell)

    def holds(self, session: str) -> bool:
        """Return whether the session has a cell here at the moment."""
        seat = self._seats.get(session)
        return seat is not None and seat.workspace is not None and not seat.workspace.cell.lost

    async def end(self, session: str) -> None:
        """Remove the session's cell and files; a program that runs in it is stopped."""
        seat = self._seats.get(session)
        if seat is not None and seat.workspace is not None:
            ended = self._vacate(seat)
            self._forget(session, seat)
            if ended is not None:
                await asyncio.shield(ended)
            log.info("session ended", extra={"session": session})

    async def cull(self) -> int:
        """Remove the cells that were not used for too long and return how many there were."""
        now = time.monotonic()
        idle = [name for name, seat in self._seats.items() if self._is_over(seat, now)]
        culled = 0
        for session in idle:
            seat = self._seats.get(session)
            if seat is not None and self._is_over(seat, now):
                await self.end(session)
                culled += 1
        return culled

    async def close(self) -> None:
        """Remove every cell."""
        seats = [seat for seat in self._seats.values() if seat.workspace is not None]
        for seat in seats:
            self._vacate(seat)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _ensure(self, session: str, seat: _Seat) -> Workspace:
        if seat.workspace is not None and (seat.workspace.cell.lost or self._recycle.due(seat.workspace)):
            self._vacate(seat)
        if seat.workspace is None:
            self._opening += 1
            try:
                await self._make_room()
                seat.workspace = Workspace(await self._backend.open_cell(session))
            finally:
                self._opening -= 1
        return seat.workspace

    async def _make_room(self) -> None:
        taken = [(name, seat) for name, seat in self._seats.items() if seat.workspace is not None]
        if len(taken) + self._opening <= self._max_cells:
            return
        idle = [(seat.used_at, name) for name, seat in taken if _idle(seat)]
        if not idle:
            raise Overloaded(
                f"all {self._max_cells} cells are in use",
                remedy="ask again later, or raise TOOL_EXECUTOR_MAX_CELLS or the number of tool executors",
            )
        await self.end(min(idle)[1])

    def _is_over(self, seat: _Seat, now: float) -> bool:
        return _idle(seat) and now - seat.used_at > self._idle_after_s

    def _vacate(self, seat: _Seat) -> asyncio.Task[None] | None:
        workspace, seat.workspace = seat.workspace, None
        return None if workspace is None else self._end(workspace.cell)

    def _end(self, cell: Cell) -> asyncio.Task[None]:
        """Remove the cell while others go on: an engine may take its time, or be away."""
        task = asyncio.create_task(_close(cell))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    def _forget(self, session: str, seat: _Seat) -> None:
        if seat.workspace is None and seat.waiting == 0 and self._seats.get(session) is seat:
            del self._seats[session]


async def _close(cell: Cell) -> None:
    with contextlib.suppress(CellLost):
        await cell.close()


def _idle(seat: _Seat) -> bool:
    return seat.workspace is not None and seat.waiting == 0

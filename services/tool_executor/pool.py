"""Cells that are made before anybody asks for one; each is handed out once and never comes back."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from datetime import timedelta

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.cells import Backend, Cell, CellLost, Lives

log = logging.getLogger(__name__)

AT_A_TIME = 2
"""Cells in the making; an engine makes no more per second with eight at a time than with two."""
_GIVE_WAY_S = 0.02
"""How long a cell that was taken is not replaced, so that the call which took it has the machine first."""
_TRIES = 3
_AGAIN_WITHIN_S, _DIED_WITHIN_S = 2.0, 10.0
"""A cell that could not be made is tried again within so long; on a busy machine it takes a while to see one dead."""
_TEND_EVERY_S = 0.5
"""How often cells that died or grew old are looked for, and an engine that refused is asked again."""


class Pool:
    """Implements `Backend` over another one: `size` cells stand ready, and whoever waits gets the next one made."""

    def __init__(self, backend: Backend, *, size: int, fresh_for: timedelta) -> None:
        self._backend = backend
        self._size = size
        self._fresh_for_s = fresh_for.total_seconds()
        self._ready: deque[tuple[float, Cell]] = deque()
        self._waiting: deque[asyncio.Future[Cell]] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._stirred = asyncio.Event()
        self._taken_at = 0.0
        self._refused_at: float | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The name of the backend that makes the cells."""
        return self._backend.name

    @property
    def does_not_limit(self) -> tuple[str, ...]:
        """See `Backend.does_not_limit`."""
        return self._backend.does_not_limit

    @property
    def ready(self) -> int:
        """How many cells stand ready."""
        return sum(not cell.lost for _, cell in self._ready)

    def fill(self) -> None:
        """Begin to make cells, and keep the pool full from now on; a pool of none does nothing."""
        if self._keeper is None and self._size:
            self._keeper = asyncio.create_task(self._keep())

    async def open_cell(self, session: str) -> Cell:
        """Return a cell that nobody had before: a ready one, else the next that is made; first come, first served.

        Raises:
            SandboxUnavailable: no cell could be made.
        """
        if not self._size:
            return await self._backend.open_cell(session)
        self.fill()
        cell = self._pop() or await self._next()
        self._taken_at = time.monotonic()
        self._stirred.set()
        log.debug("cell taken", extra={"session": session, "ready": len(self._ready)})
        return cell

    async def reap(self, lives: Lives) -> int:
        """See `Backend.reap`."""
        return await self._backend.reap(lives)

    async def close(self) -> None:
        """Remove the cells that stand ready, and every other one of the backend."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, *self._making, return_exceptions=True)
        self._refuse(SandboxUnavailable("the tool executor is closing"))
        while self._ready:
            self._end(self._ready.popleft()[1])
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._backend.close()

    def _pop(self) -> Cell | None:
        while self._ready:
            _, cell = self._ready.popleft()
            if not cell.lost:
                return cell
            self._end(cell)
        return None

    async def _next(self) -> Cell:
        place: asyncio.Future[Cell] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._stirred.set()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._hand_out(place.result())
            raise

    async def _keep(self) -> None:
        while True:
            self._drop_stale()
            while self._lacking() > 0 and len(self._making) < AT_A_TIME:
                task = asyncio.create_task(self._make())
                self._making.add(task)
                task.add_done_callback(self._made)
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._stirred.wait()

    def _lacking(self) -> int:
        """Return how many cells should be begun now; after a refusal the next try waits a moment."""
        now = time.monotonic()
        if self._refused_at is not None and now - self._refused_at < _TEND_EVERY_S and not self._waiting:
            return 0
        spare = 0 if now - self._taken_at < _GIVE_WAY_S else self._size - len(self._ready)
        return max(0, spare) + self._waiters() - len(self._making)

    def _pause(self) -> float:
        resting = self._taken_at + _GIVE_WAY_S - time.monotonic()
        return resting if resting > 0 else _TEND_EVERY_S

    def _waiters(self) -> int:
        return sum(not place.done() for place in self._waiting)

    async def _make(self) -> None:
        try:
            cell = await self._open_again()
        except SandboxUnavailable as error:
            if self._refused_at is None:
                log.warning("pool not filled", extra={"reason": error.message})
            self._refused_at = time.monotonic()
            self._refuse(error)
        else:
            self._refused_at = None
            self._hand_out(cell)

    async def _open_again(self) -> Cell:
        """Return a cell, at a later try if the first failed soon: one that dies in the making concerns nobody."""
        began = time.monotonic()
        for _ in range(_TRIES - 1):
            try:
                return await self._backend.open_cell("")
            except SandboxUnavailable as error:
                died = isinstance(error.__cause__, CellLost)
                if time.monotonic() - began > (_DIED_WITHIN_S if died else _AGAIN_WITHIN_S):
                    raise
        return await self._backend.open_cell("")

    def _made(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        self._stirred.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("cell not made", exc_info=error)
            self._refused_at = time.monotonic()
            self._refuse(SandboxUnavailable(f"no cell could be made: {error!r}"))

    def _hand_out(self, cell: Cell) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(cell)
                return
        self._ready.append((time.monotonic(), cell))

    def _refuse(self, error: SandboxUnavailable) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(error)

    def _drop_stale(self) -> None:
        """Let go of the cells that have died, and of one that waited so long that its worker may soon give up."""
        now = time.monotonic()
        kept = deque[tuple[float, Cell]]()
        for made_at, cell in self._ready:
            if cell.lost or now - made_at > self._fresh_for_s:
                self._end(cell)
            else:
                kept.append((made_at, cell))
        self._ready = kept

    def _end(self, cell: Cell) -> None:
        task = asyncio.create_task(_close(cell))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _close(cell: Cell) -> None:
    with contextlib.suppress(CellLost):
        await cell.close()

"""The tools as they are offered: a door for each, for as long as it is in the toolbox, and the word when it changes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from natscope.bus import Doors, Room
from natscope.contracts import tool
from services.tool_executor.calls import Calls
from services.tool_executor.tools.toolbox import Toolbox

log = logging.getLogger(__name__)


class Offer:
    """What this executor serves."""

    def __init__(self, room: Room, toolbox: Toolbox, *, backend: str) -> None:
        self.instance = room.instance.id
        self._room = room
        self._toolbox = toolbox
        self._backend = backend
        self._open: dict[str, Doors] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        toolbox.follow(self._changed.set)

    @property
    def listed(self) -> tool.Listed:
        """What is told of it: the tools whose doors are open."""
        tools = [spec for spec in self._toolbox.specs if spec.name in self._open]
        return tool.Listed(host=self._room.name, instance=self.instance, tools=tools, backend=self._backend)

    @asynccontextmanager
    async def kept(self, calls: Calls, *, workers: int, then: Sequence[Doors] = ()) -> AsyncGenerator[None]:
        """Keep the doors those of the toolbox for as long as the body runs; at the end they are closed and it is said.

        `workers` calls of each tool run at a time. The doors of `then` open behind the tools' first ones: who asks
        there is never told that there are none.
        """
        await self._settle(calls, workers, then)
        task = asyncio.create_task(self._follow(calls, workers))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.gather(self._room.finish(), *self._closing)
            self._open.clear()
            await self._tell()

    async def _follow(self, calls: Calls, workers: int) -> None:
        while True:
            await self._changed.wait()
            await self._settle(calls, workers)

    async def _settle(self, calls: Calls, workers: int, then: Sequence[Doors] = ()) -> None:
        self._changed.clear()
        wanted = [spec.name for spec in self._toolbox.specs]
        gone = [name for name in self._open if name not in wanted]
        come = {name: self._door(name, calls, workers) for name in wanted if name not in self._open}
        closing = [self._open.pop(name) for name in gone]
        await self._room.serve(*come.values())
        self._open |= come
        if then:
            await self._room.serve(*then)
        await self._tell()
        await self._room.bus.nc.flush()
        for doors in closing:
            closed = asyncio.create_task(self._room.drop(doors))
            self._closing.add(closed)
            closed.add_done_callback(self._closing.discard)
        if gone:
            log.info("tools gone", extra={"tools": gone})

    def _door(self, name: str, calls: Calls, workers: int) -> Doors:
        doors = Doors(self._room.bus)
        doors.answers(tool.door_of(name), key=name, workers=workers)(calls.carry_out)
        return doors

    async def _tell(self) -> None:
        await self._room.bus.tell(
            tool.CHANGED, tool.Changed(host=self._room.name, instance=self.instance), self.instance
        )

"""The pipe to a worker that dials in: its own connection if it could, else the engine's stream, which takes longer."""

import asyncio

from services.tool_executor.doorsteps import Doorstep
from services.tool_executor.pipes import AttachedPipe, StreamPipe


class DialledPipe:
    """Implements `Pipe` by the way that the worker greets on; it ends as soon as the engine's stream does."""

    def __init__(self, attached: AttachedPipe, doorstep: Doorstep) -> None:
        self._attached = attached
        self._doorstep = doorstep
        self._way: StreamPipe | None = None
        self._tasks: tuple[asyncio.Task[bytes], asyncio.Task[StreamPipe]] | None = None

    async def read(self) -> bytes:
        """See `Pipe.read`."""
        return await (self._way.read() if self._way is not None else self._first())

    async def write(self, data: bytes) -> None:
        """See `Pipe.write`; nobody writes to a worker that has not greeted."""
        await (self._way or self._attached).write(data)

    async def close(self) -> None:
        """See `Pipe.close`."""
        if self._tasks is not None:
            watching, calling = self._tasks
            watching.cancel()
            calling.cancel()
            await asyncio.wait(self._tasks)
            if not calling.cancelled() and calling.exception() is None:
                await calling.result().close()
        self._doorstep.close()
        await self._attached.close()

    async def _first(self) -> bytes:
        watching = asyncio.create_task(self._attached.read())
        calling = asyncio.create_task(self._call())
        self._tasks = (watching, calling)
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if not calling.done() or calling.exception() is not None:
            calling.cancel()
            self._way = self._attached
            return await watching
        self._way = way = calling.result()
        watching.add_done_callback(lambda watched: None if watched.cancelled() else _end(way, watched))
        return await way.read()

    async def _call(self) -> StreamPipe:
        return StreamPipe(*await asyncio.open_connection(sock=await self._doorstep.caller()))


def _end(way: StreamPipe, watched: asyncio.Task[bytes]) -> None:
    """End `way`: the engine's stream has ended, and the cell with it; or it says what no worker says there."""
    watched.exception()
    way.abort()

"""A socket in front of the engine's own that can be cut, held still and restored, as an engine that dies or hangs."""

import asyncio
import contextlib
from pathlib import Path

ENGINE = "/var/run/docker.sock"


class EngineProxy:
    """Passes bytes on to the engine until it is cut."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix://{path}"
        self._path = path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent = False

    async def restore(self) -> None:
        """Answer, as the engine does."""
        await self.cut()
        self._silent = False
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def hang(self) -> None:
        """Drop every stream, and take connections in without a word."""
        await self.restore()
        self._silent = True

    async def cut(self) -> None:
        """Drop every stream and refuse connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)
        for writer in tuple(self._writers):
            writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._silent:
                await reader.read()
                return
            above_reader, above_writer = await asyncio.open_unix_connection(ENGINE)
            self._writers.add(above_writer)
            try:
                await asyncio.gather(_pass_on(reader, above_writer), _pass_on(above_reader, writer))
            finally:
                self._writers.discard(above_writer)
                above_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()

"""All declared servers: started, replaced and ended as their file says, and their tools by name."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from natscope.contracts.errors import NatscopeError
from services.tool_executor.mcp import servers_file
from services.tool_executor.mcp.connections import Connection
from services.tool_executor.mcp.discretion import discreet
from services.tool_executor.mcp.entries import AnyEntry, Environment
from services.tool_executor.mcp.offering import McpTool, offered
from services.tool_executor.mcp.speaking import Open

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often it is looked whether the file has changed."""
FIRST_S = 2.0
"""So long the start waits for the servers to name their tools; those that take longer come later."""

Stamp = tuple[int, int, int] | None


class Servers:
    """The servers in force."""

    def __init__(self, path: Path, environment: Environment, opener: Callable[[], Open]) -> None:
        """`opener` is not asked before there is a server to be opened: what it needs is heavy.

        Raises:
            SpecInvalid: the file is wrong; the message names line and field.
        """
        self._path = path
        self._environment = environment
        self._opener = opener
        self._open: Open | None = None
        self._stamp = _stamp(path)
        self._entries = servers_file.read(path)
        self._running: dict[str, Connection] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.tools: Mapping[str, McpTool] = {}
        """By our names."""
        self.fault: str | None = None
        """What is wrong with the file as it is now, if it is not in force."""

    @asynccontextmanager
    async def up(self, follow: Callable[[], None], *, look_s: float = LOOK_S) -> AsyncGenerator[None]:
        """Keep the servers up while the body runs; `follow` hears that `tools` are others. At the end none is left."""
        await self._apply(self._entries)
        tasks = [asyncio.create_task(self._watch(look_s)), asyncio.create_task(self._tell(follow))]
        try:
            await self._first()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._apply({})

    async def look(self) -> bool:
        """Read the file if it has changed; return whether it is in force now and was not before."""
        stamp = await asyncio.to_thread(_stamp, self._path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            entries = await asyncio.to_thread(servers_file.read, self._path)
        except NatscopeError as error:
            self.fault = str(error)
            log.error("MCP file is wrong, the one before stays in force", extra={"fault": self.fault})
            return False
        self.fault = None
        await self._apply(entries)
        log.info("MCP file in force", extra={"servers": list(self._running)})
        return True

    async def _apply(self, entries: Mapping[str, AnyEntry]) -> None:
        """Leave alone the servers of which the file says what it said, end the others, and begin the new ones."""
        wanted = {name: entry for name, entry in entries.items() if entry.enabled}
        gone = [name for name, found in self._running.items() if wanted.get(name) != found.entry]
        self._ending |= {asyncio.create_task(self._running.pop(name).close()) for name in gone}
        if self._ending:
            self._ending -= (await asyncio.wait(self._ending))[0]
        new = [name for name in wanted if name not in self._running]
        if new and self._open is None:
            self._open = discreet(await asyncio.to_thread(self._opener), self._environment)
        if self._open is not None:
            self._running |= {name: Connection(name, wanted[name], self._open, self._changed.set) for name in new}
        self._changed.set()

    async def _first(self) -> None:
        tried = [asyncio.create_task(connection.tried.wait()) for connection in self._running.values()]
        if tried:
            await asyncio.wait(tried, timeout=FIRST_S)
        for task in tried:
            task.cancel()
        self._gather()

    async def _tell(self, follow: Callable[[], None]) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if self._gather():
                    follow()
            except Exception:
                log.exception("the tools of MCP servers cannot be served")

    def _gather(self) -> bool:
        found: dict[str, McpTool] = {}
        for connection in self._running.values():
            found |= offered(connection, self._environment)
        changed = found != self.tools
        self.tools = found
        return changed

    async def _watch(self, look_s: float) -> None:
        while True:
            await asyncio.sleep(look_s)
            try:
                await self.look()
            except Exception:
                log.exception("the MCP file cannot be followed")


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

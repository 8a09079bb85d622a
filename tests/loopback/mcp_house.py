"""Servers declared for a test: their file, their calls, and a count of every process that any of them has started."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from natscope.contracts.blocks import Base64Source, MediaBlock, text_of
from natscope.telemetry import Telemetry, TelemetrySettings, telemetry_for
from services.tool_executor.mcp.calling import Calling
from services.tool_executor.mcp.client import opener
from services.tool_executor.mcp.servers import Servers
from services.tool_executor.mcp.starting import Containers
from services.tool_executor.tools.port import Result

HERE = Path(__file__).parent
REAL = str(HERE / "mcp_server.py")
BARE = str(HERE / "mcp_bare.py")
PATHS = {"http": "mcp", "sse": "sse"}
SOON_S = 60.0
"""For what a machine does at once if it has nothing else to do."""


class Inline:
    """A store that keeps everything inline and remembers how much that was."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def source(self, data: bytes, media_type: str) -> Base64Source:
        """Return `data` as a source."""
        self.sizes.append(len(data))
        return Base64Source(data="", media_type=media_type)

    async def bytes_of(self, block: MediaBlock) -> bytes:
        """Return nothing: nobody asks."""
        return b""


def quiet() -> Telemetry:
    """Return telemetry that makes spans and sends none."""
    return telemetry_for("test", TelemetrySettings.model_construct(endpoint=None, disabled=False, keep=False))


@dataclass
class McpHouse:
    """A file of servers; every process of theirs carries the house's mark in its environment."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    telemetry: Telemetry = field(default_factory=quiet)
    heard: list[str] = field(default_factory=list[str])
    told: int = 0

    def __post_init__(self) -> None:
        self.file = self.folder / "mcp.yaml"
        self.log = self.folder / "log"
        self.log.touch()
        self.entries: dict[str, dict[str, Any]] = {}

    def bare(self, manner: str = "well", *, name: str = "s", **more: Any) -> "McpHouse":
        """Declare the bare server."""
        return self.program(name, [BARE, manner], **more)

    def real(self, *, name: str = "s", **more: Any) -> "McpHouse":
        """Declare the SDK's server over standard input and output."""
        return self.program(name, [REAL, "stdio"], **more)

    def program(self, name: str, arguments: list[str], **more: Any) -> "McpHouse":
        """Declare a Python program."""
        env = {"MCP_LOG": str(self.log), "NATSCOPE_TEST": self.mark}
        return self.declare(name, command=sys.executable, args=arguments, env=env, **more)

    def declare(self, name: str, **entry: Any) -> "McpHouse":
        """Declare a server."""
        self.entries[name] = entry
        return self.write()

    def write(self) -> "McpHouse":
        """Write the file."""
        self.file.write_text(json.dumps({"servers": self.entries}))
        return self

    @property
    def lines(self) -> list[str]:
        """What the servers have written: a line for each time a tool acted."""
        return self.log.read_text().splitlines()

    def network(self, kind: str, port: int, *, name: str = "s", **more: Any) -> "McpHouse":
        """Declare a server on the network; `listening` starts it."""
        return self.declare(name, kind=kind, url=f"http://127.0.0.1:{port}/{PATHS[kind]}", **more)

    @asynccontextmanager
    async def listening(self, kind: str, port: int) -> AsyncGenerator["subprocess.Popen[bytes]"]:
        """Run the SDK's server on the network."""
        process = self.start_real(kind, port)
        try:
            assert await accepts(port)
            yield process
        finally:
            process.kill()
            process.communicate()

    def start_real(self, kind: str, port: int) -> "subprocess.Popen[bytes]":
        """Start the SDK's server on the network; it takes seconds until it `accepts`."""
        return self.start(sys.executable, REAL, kind, str(port), MCP_LOG=str(self.log))

    def start(self, *command: str, cwd: Path | None = None, **more: str) -> "subprocess.Popen[bytes]":
        """Start a program of another kind that carries the mark, in a group of its own."""
        env = {**os.environ, **more, "NATSCOPE_TEST": self.mark}
        return subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.PIPE, start_new_session=True)

    def processes(self) -> list[int]:
        """Return every process that carries the mark, whoever its parent is by now."""
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    async def gone(self, within_s: float = SOON_S) -> bool:
        """Return whether there is no such process within some seconds."""
        return await eventually(lambda: not self.processes(), within_s)

    @asynccontextmanager
    async def up(
        self,
        environment: dict[str, str] | None = None,
        *,
        look_s: float = 0.05,
        containers: Containers | None = None,
    ) -> AsyncGenerator["Up"]:
        """Run the servers."""
        variables = environment or {}
        servers = Servers(self.file, variables, lambda: opener(variables, containers))
        store = Inline()
        async with servers.up(self._follow, look_s=look_s):
            yield Up(self, servers, Calling(self.telemetry), store)

    async def hear(self, text: str) -> None:
        """Hear progress."""
        self.heard.append(text)

    def _follow(self) -> None:
        self.told += 1


@dataclass
class Up:
    """Running servers."""

    house: McpHouse
    servers: Servers
    calling: Calling
    store: Inline

    async def call(self, tool: str, *, server: str = "s", deadline_s: float = SOON_S, **arguments: Any) -> Result:
        """Call a server's tool."""
        assert await self.until(tool, server=server, within_s=SOON_S), f"no tool {tool!r}: {list(self.servers.tools)}"
        found = self.servers.tools[f"mcp__{server}__{tool}"]
        return await self.calling.call(found, arguments, deadline_s=deadline_s, hear=self.house.hear, media=self.store)

    async def text(self, tool: str, **arguments: Any) -> str:
        """Call a tool and return what it says."""
        return text_of((await self.call(tool, **arguments)).output)

    async def until(self, tool: str, *, server: str = "s", there: bool = True, within_s: float = SOON_S) -> bool:
        """Return whether a tool is (or is not) offered within some seconds."""
        return await eventually(lambda: (f"mcp__{server}__{tool}" in self.servers.tools) is there, within_s)


async def eventually(holds: Callable[[], bool], within_s: float = SOON_S) -> bool:
    """Return whether something comes to hold."""
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


async def took(work: Awaitable[Any]) -> tuple[Any, float]:
    """Return what some work comes to, an exception included, and the seconds it took."""
    began = time.monotonic()
    try:
        outcome = await work
    except Exception as error:
        outcome = error
    return outcome, time.monotonic() - began


async def accepts(port: int) -> bool:
    """Return whether somebody listens at a port within some seconds."""

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return await eventually(listens)

"""Puts the tools of MCP servers into the executor's toolbox, for as long as they are there."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.tool import ToolSpec
from natscope.telemetry import Telemetry
from services.tool_executor.mcp.calling import Calling
from services.tool_executor.mcp.entries import Environment
from services.tool_executor.mcp.offering import McpTool
from services.tool_executor.mcp.servers import Servers
from services.tool_executor.mcp.speaking import Json, Open
from services.tool_executor.mcp.starting import Containers
from services.tool_executor.tools.arguments import given
from services.tool_executor.tools.port import Place, Result
from services.tool_executor.tools.toolbox import Toolbox


@dataclass(frozen=True)
class ServedTool:
    """Implements `Tool` by calling a server; the server itself looks whether the arguments fit."""

    tool: McpTool
    calling: Calling

    @property
    def spec(self) -> ToolSpec:
        """What a model is told."""
        return self.tool.spec

    def read(self, call: ToolUseBlock) -> Json:
        """Return the arguments as the model wrote them.

        Raises:
            ArgumentsInvalid: they are no object.
        """
        return given(call, self.spec)

    async def run(self, arguments: Mapping[str, JsonValue], place: Place) -> Result:
        """Call the server; see `Calling.call`."""
        return await self.calling.call(
            self.tool, arguments, deadline_s=place.deadline_s, hear=place.say, media=place.media
        )


@asynccontextmanager
async def mcp_tools(
    path: Path, environment: Environment, toolbox: Toolbox, telemetry: Telemetry, containers: Containers | None = None
) -> AsyncGenerator[Servers]:
    """Serve the tools of the servers that the file at `path` declares, now and later, while the body runs.

    Without `containers`, no server runs in one.

    Raises:
        SpecInvalid: the file is wrong; the message names line and field.
    """
    servers = Servers(path, environment, _sdk(environment, containers))
    calling = Calling(telemetry)
    served: list[str] = []

    def follow() -> None:
        tools = [ServedTool(found, calling) for found in servers.tools.values()]
        toolbox.replace(served, tools)
        served[:] = servers.tools

    async with servers.up(follow):
        follow()
        yield servers


def _sdk(environment: Environment, containers: Containers | None) -> Callable[[], Open]:
    """Return what loads the SDK: more than a second that a house without servers does not spend."""

    def load() -> Open:
        from services.tool_executor.mcp.client import opener

        return opener(environment, containers)

    return load

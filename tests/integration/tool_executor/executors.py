"""Executors on a real server, with cells that are stand-ins."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from natscope.bus import BusSettings, Ledger, open_room
from natscope.bus.streams import CALLS
from natscope.contracts import tool
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.tool_executor.calls import Calls, Means
from services.tool_executor.handlers import doors, listen, workspace_doors
from services.tool_executor.homes import Homes
from services.tool_executor.offering import Offer
from services.tool_executor.sessions import Sessions
from services.tool_executor.settings import Settings
from services.tool_executor.tools.catalog import built_in_tools
from services.tool_executor.tools.toolbox import Toolbox
from services.tool_executor.workspaces import Workspaces
from tests.doors.tool_executor.fakes import FakeBackend


@asynccontextmanager
async def executor(
    url: str, toolbox: Toolbox | None = None, backend: FakeBackend | None = None
) -> AsyncGenerator[FakeBackend]:
    """Run an executor for as long as the body runs; it is as `app` puts it together but for the cells."""
    settings, backend, toolbox = Settings(), backend or FakeBackend(), toolbox or Toolbox(built_in_tools())
    silent = telemetry_for("tool-executor", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    sessions = Sessions(backend, max_cells=4, idle_after=timedelta(minutes=1))
    async with open_room(tool.CALL.room, settings=BusSettings(url=url), telemetry=silent) as room:
        homes = Homes(room.bus, room.instance)
        ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=tool.Called)
        calls = Calls(
            settings,
            toolbox,
            sessions,
            Means(ledger, room.bus.blobs, room.bus.say, silent, homes),
            backend=backend.name,
        )
        workspaces = Workspaces(sessions, room.bus.blobs)
        offer = Offer(room, toolbox, backend=backend.name)
        await listen(room.bus, calls, sessions)
        await room.serve(
            doors(room.bus, calls, offer, workers=4),
            workspace_doors(room.bus, workspaces, homes, instance=room.instance.id, workers=4),
        )
        async with offer.kept(calls, workers=4):
            yield backend

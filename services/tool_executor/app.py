"""Puts the tool executor together."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from natscope.bus import BusSettings, Ledger, Room, open_room
from natscope.bus.streams import CALLS
from natscope.contracts import tool
from natscope.telemetry import Telemetry, telemetry_for
from services.tool_executor.backends import choose_backend
from services.tool_executor.calls import Calls, Means
from services.tool_executor.handlers import doors, listen, workspace_doors
from services.tool_executor.homes import Homes
from services.tool_executor.housekeeping import housekeeping
from services.tool_executor.late_web import fetching
from services.tool_executor.mcp.contained import containers_for
from services.tool_executor.mcp.toolset import mcp_tools
from services.tool_executor.offering import Offer
from services.tool_executor.pool import Pool
from services.tool_executor.sessions import Recycle, Sessions
from services.tool_executor.settings import Settings
from services.tool_executor.todo import Lists
from services.tool_executor.tools.catalog import built_in_tools
from services.tool_executor.tools.tasks import task_tools
from services.tool_executor.tools.toolbox import Toolbox
from services.tool_executor.workspaces import Workspaces

NAME = tool.CALL.room
DESCRIPTION = "Runs foreign code in cells and answers for every built-in tool."


@asynccontextmanager
async def app(
    settings: Settings | None = None, *, bus: BusSettings | None = None, telemetry: Telemetry | None = None
) -> AsyncGenerator[Room]:
    """Run the tool executor for as long as the body runs; at the end no cell of it is left."""
    settings = settings or Settings()
    telemetry = telemetry or telemetry_for(NAME)
    backend = await choose_backend(settings, instance=telemetry.instance)
    pool = Pool(backend, size=settings.pool if backend.name != "none" else 0, fresh_for=settings.idle_after)
    sessions = Sessions(
        pool,
        max_cells=settings.max_cells,
        idle_after=settings.idle_after,
        one_shot_wait=settings.one_shot_wait,
        recycle=Recycle(settings.recycle_after_runs, settings.recycle_after),
    )
    try:
        async with (
            fetching(settings) as web_tools,
            open_room(NAME, description=DESCRIPTION, settings=bus, telemetry=telemetry) as room,
        ):
            toolbox = Toolbox([*built_in_tools(), *task_tools(Lists(room.bus)), *web_tools])
            homes = Homes(room.bus, room.instance)
            calls = Calls(settings, toolbox, sessions, _means(room, homes), backend=backend.name)
            workspaces = Workspaces(sessions, room.bus.blobs)
            offer = Offer(room, toolbox, backend=backend.name)
            async with housekeeping(pool, sessions, room.instance.lives, idle_after=settings.idle_after):
                pool.fill()
                await listen(room.bus, calls, sessions)
                await homes.listen()
                front = (
                    doors(room.bus, calls, offer, workers=settings.workers),
                    workspace_doors(room.bus, workspaces, homes, instance=room.instance.id, workers=settings.workers),
                )
                async with (
                    containers_for(settings, room.instance.id, room.instance.lives) as containers,
                    mcp_tools(settings.mcp, os.environ, toolbox, telemetry, containers),
                    offer.kept(calls, workers=settings.workers, then=front),
                ):
                    yield room
    finally:
        await sessions.close()
        await pool.close()


def _means(room: Room, homes: Homes) -> Means:
    return Means(
        once=Ledger(room.bus, room.instance, bucket=CALLS, answer=tool.Called),
        media=room.bus.blobs,
        say=room.bus.say,
        telemetry=room.bus.telemetry,
        elsewhere=homes,
    )

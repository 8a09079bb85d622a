"""The tools that a run begins with, while the hosts that serve them come and go."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from natscope.bus import BusSettings, Doors, connect, open_room
from natscope.contracts import tool
from services.agent.registry import Tools


@asynccontextmanager
async def host(settings: BusSettings, *names: str, goodbye: bool) -> AsyncGenerator[None]:
    """A host of tools; without a goodbye it ends as one that was killed does."""
    async with open_room("host", settings=settings) as room:
        doors = Doors(room.bus)
        specs = [tool.ToolSpec(name=name, description="", parameters={"type": "object"}) for name in names]

        @doors.answers(tool.LIST, queue="")
        async def listed(body: tool.List) -> tool.Listed:
            return tool.Listed(host="host", instance=room.instance.id, tools=specs)

        await room.serve(doors)
        yield
        await room.finish()
        if goodbye:
            changed = tool.Changed(host="host", instance=room.instance.id)
            await room.bus.tell(tool.CHANGED, changed, room.instance.id)


class TestARunThatBegins:
    async def test_is_offered_the_tools_of_a_host_that_was_killed_a_moment_ago(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with connect("agent", settings) as bus:
            tools = Tools(bus)
            await tools.start()
            async with host(settings, "mine", goodbye=False):
                assert [spec.name for spec in await tools.get(["mine"])] == ["mine"]
            assert [spec.name for spec in await tools.get(["unknown*", "mine"])] == ["mine"]

    async def test_is_not_offered_those_of_a_host_that_has_said_goodbye(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with connect("agent", settings) as bus:
            tools = Tools(bus)
            await tools.start()
            async with host(settings, "mine", goodbye=True):
                assert [spec.name for spec in await tools.get(["m*"])] == ["mine"]
            async with asyncio.timeout(5):
                while await tools.get(["m*"]):  # noqa: ASYNC110 - they can only be asked
                    await asyncio.sleep(0.02)

    async def test_waits_for_a_host_that_is_being_started(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with connect("agent", settings) as bus:
            tools = Tools(bus)
            await tools.start()
            getting = asyncio.create_task(tools.get(["late"]))
            await asyncio.wait([getting], timeout=0.4)
            assert not getting.done()
            async with host(settings, "late", goodbye=True):
                assert [spec.name for spec in await getting] == ["late"]

    async def test_does_not_wait_for_a_tool_that_the_house_says_it_has_not(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room(tool.CALL.room, settings=settings) as room, connect("agent", settings) as bus:
            doors = Doors(room.bus)

            @doors.answers(tool.LIST, queue="")
            async def listed(body: tool.List) -> tool.Listed:
                return tool.Listed(host=room.name, instance=room.instance.id, tools=[])

            await room.serve(doors)
            began = time.monotonic()
            assert await Tools(bus).get(["fetch_url"]) == []
            assert time.monotonic() - began < 10

"""The tools that a run begins with, while the hosts that serve them come and go."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from natscope.bus import BusSettings, Doors, connect, open_room
from natscope.client import Ticket
from natscope.contracts import model, tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.event import ToolMissing
from services.agent.registry import Missing, Tools
from tests.integration.agent.house import house, reply


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
            async with asyncio.timeout(20):
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
            assert time.monotonic() - began < 25


class TestAToolThatNobodyServes:
    async def test_is_waited_for_by_no_run_if_it_was_never_heard_of(self, nats_url: str) -> None:
        settings, said = BusSettings(url=nats_url), list[Missing]()
        async with connect("agent", settings) as bus, host(settings, "search", goodbye=True):
            tools = Tools(bus, young_s=0)
            found = await asyncio.wait_for(tools.get(["serach", "search"], _into(said)), 25)
        assert [spec.name for spec in found] == ["search"]
        assert said == [Missing("serach", awaited=False, nearest="search")]

    async def test_is_waited_for_if_it_was_served_before(self, nats_url: str) -> None:
        settings, said = BusSettings(url=nats_url), list[Missing]()
        async with connect("agent", settings) as bus:
            tools = Tools(bus, young_s=0)
            await tools.start()
            async with host(settings, "mine", goodbye=True):
                assert await tools.get(["mine"])
            async with asyncio.timeout(20):
                while await tools.get(["m*"]):  # noqa: ASYNC110 - they can only be asked
                    await asyncio.sleep(0.02)
            getting = asyncio.create_task(tools.get(["mine"], _into(said)))
            await asyncio.wait([getting], timeout=0.4)
            assert not getting.done()
            async with host(settings, "mine", goodbye=True):
                assert [spec.name for spec in await getting] == ["mine"]
        assert said == [Missing("mine", awaited=True, nearest=None)]

    async def test_is_told_in_an_event_before_the_run_waits_for_it(self, nats_url: str) -> None:
        spec = AgentSpec(name="assistant", system_prompt="You help.", tools=["ad"])
        async with house(nats_url, spec) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                return reply(f"I have {[each.name for each in asked.tools]}.")

            here.mind = mind
            task = await here.submit("Go.")
            first = await anext(Ticket(here.bus, task.task_id).events())
            async with host(here.settings, "ad", goodbye=True):
                outcome = await here.outcome(task.task_id)
        assert isinstance(first.event, ToolMissing)
        assert (first.event.tool, first.event.awaited, first.event.nearest) == ("ad", True, "add")
        assert outcome.text == "I have ['ad']."


def _into(said: list[Missing]) -> Callable[[Missing], Awaitable[None]]:
    async def notice(missing: Missing) -> None:
        said.append(missing)

    return notice

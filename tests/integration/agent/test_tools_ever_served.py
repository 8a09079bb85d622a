"""A service that has just started tells a tool whose host is away from a name that nobody ever served."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from natscope.bus import Bus, BusSettings, connect
from services.agent.registry import Missing, Tools
from services.agent.tool_record import ToolRecord
from tests.integration.agent.test_hosts import host


@asynccontextmanager
async def after_a_restart(url: str, *, new_s: float = 0.0) -> AsyncGenerator[Tools]:
    """Give the tools of a service that has just started in a house in which `mine` was served."""
    settings = BusSettings(url=url)
    async with connect("agent", settings) as bus:
        async with host(settings, "mine", goodbye=True):
            await Tools(bus).get(["mine"])
            await _recorded(bus, "mine")
        yield Tools(bus, new_s=new_s)


async def _recorded(bus: Bus, name: str) -> None:
    async with asyncio.timeout(20):
        while not await ToolRecord(bus, new_s=0).has(name):  # noqa: ASYNC110 - it is kept in the background
            await asyncio.sleep(0.02)


class TestANameThatNobodyEverServed:
    async def test_is_not_waited_for_although_the_service_is_young(self, nats_url: str) -> None:
        said = list[Missing]()

        async def notice(missing: Missing) -> None:
            said.append(missing)

        async with after_a_restart(nats_url) as tools, host(BusSettings(url=nats_url), "mine", goodbye=True):
            found = await asyncio.wait_for(tools.get(["mien", "mine"], notice), 20)
        assert [spec.name for spec in found] == ["mine"]
        assert [each.awaited for each in said if each.name == "mien"] == [False]

    async def test_is_waited_for_in_a_house_that_is_new(self, nats_url: str) -> None:
        async with after_a_restart(nats_url, new_s=3600) as tools:
            getting = asyncio.create_task(tools.get(["late"]))
            await asyncio.wait([getting], timeout=0.4)
            assert not getting.done()
            async with host(BusSettings(url=nats_url), "late", goodbye=True):
                assert [spec.name for spec in await getting] == ["late"]


class TestANameThatWasServedOnce:
    async def test_is_waited_for_by_a_service_that_has_never_seen_its_host(self, nats_url: str) -> None:
        async with after_a_restart(nats_url) as tools:
            getting = asyncio.create_task(tools.get(["mine"]))
            await asyncio.wait([getting], timeout=0.4)
            assert not getting.done()
            async with host(BusSettings(url=nats_url), "mine", goodbye=True):
                assert [spec.name for spec in await getting] == ["mine"]

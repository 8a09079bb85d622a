"""Tools that come and go on a real server: their doors, the list, and the word that there is a change."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import TextBlock, ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.errors import ServiceNotRunning
from services.tool_executor.tools.arguments import Arguments
from services.tool_executor.tools.built_in import BuiltIn, built_in
from services.tool_executor.tools.port import Place, Result
from services.tool_executor.tools.toolbox import Toolbox
from tests.integration.tool_executor.executors import executor


class NoArguments(Arguments):
    """Nothing is asked."""


class Pause:
    """What a tool waits for, and whether it does."""

    def __init__(self) -> None:
        self.begun, self.over = asyncio.Event(), asyncio.Event()


def named(name: str, pause: Pause | None = None) -> BuiltIn[NoArguments]:
    """Return a tool that says its name, once `pause` is over."""

    async def act(_: NoArguments, place: Place) -> Result:
        if pause is not None:
            pause.begun.set()
            await pause.over.wait()
        return Result([TextBlock(text=name)])

    return built_in(name, "Says its name.", NoArguments, act, sandboxed=False)


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A guest."""
    async with connect("guest", BusSettings(url=nats_url)) as found:
        yield found


async def call(bus: Bus, name: str) -> str:
    asked = tool.Call(call_id=new_id(), call=ToolUseBlock(id="c", name=name), session="s")
    return text_of((await bus.ask(tool.CALL, asked, name)).result.output)


async def offered(bus: Bus) -> list[str]:
    while not (told := await bus.ask_all(tool.LIST, tool.List(), wait_s=1)):
        pass
    return [spec.name for found in told for spec in found.tools]


async def until_refused(bus: Bus, name: str) -> None:
    async with asyncio.timeout(20):
        while True:
            await call(bus, name)


class TestOffering:
    async def test_a_tool_that_comes_is_told_listed_and_called(self, nats_url: str, bus: Bus) -> None:
        toolbox = Toolbox([named("first")])
        async with executor(nats_url, toolbox):
            heard = await bus.nc.subscribe(tool.CHANGED.wildcard)
            await bus.nc.flush()
            with pytest.raises(ServiceNotRunning):
                await call(bus, "second")
            toolbox.add(named("second"))
            await heard.next_msg(timeout=20)
            assert await offered(bus) == ["first", "second"]
            assert [await call(bus, "first"), await call(bus, "second")] == ["first", "second"]

    async def test_a_tool_that_goes_is_not_listed_and_nobody_answers_for_it(self, nats_url: str, bus: Bus) -> None:
        toolbox = Toolbox([named("first"), named("second")])
        async with executor(nats_url, toolbox):
            heard = await bus.nc.subscribe(tool.CHANGED.wildcard)
            await bus.nc.flush()
            assert await call(bus, "second") == "second"
            toolbox.remove("second")
            await heard.next_msg(timeout=20)
            assert await offered(bus) == ["first"]
            with pytest.raises(ServiceNotRunning):
                await until_refused(bus, "second")

    async def test_a_call_in_flight_ends_though_its_tool_goes(self, nats_url: str, bus: Bus) -> None:
        pause = Pause()
        toolbox = Toolbox([named("slow", pause)])
        async with executor(nats_url, toolbox):
            heard = await bus.nc.subscribe(tool.CHANGED.wildcard)
            asked = asyncio.create_task(call(bus, "slow"))
            await pause.begun.wait()
            toolbox.remove("slow")
            await heard.next_msg(timeout=20)
            pause.over.set()
            assert await asked == "slow"

    async def test_a_tool_that_comes_back_is_called_again(self, nats_url: str, bus: Bus) -> None:
        toolbox = Toolbox([named("first")])
        async with executor(nats_url, toolbox):
            heard = await bus.nc.subscribe(tool.CHANGED.wildcard)
            await bus.nc.flush()
            toolbox.remove("first")
            await heard.next_msg(timeout=20)
            toolbox.add(named("first"))
            await heard.next_msg(timeout=20)
            assert await call(bus, "first") == "first"

"""Several tool executors behind one door: a session's calls find its files wherever they land."""

from contextlib import AsyncExitStack

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from services.tool_executor.app import app
from services.tool_executor.settings import Settings


async def python(bus: Bus, code: str, *, session: str = "s1") -> tool.Called:
    call = ToolUseBlock(id="c1", name="execute_python", input={"code": code})
    return await bus.ask(tool.CALL, tool.Call(call_id=new_id(), call=call, session=session), "execute_python")


class TestReplicas:
    async def test_a_session_s_files_are_found_by_every_call(self, nats_url: str, settings: Settings) -> None:
        where = BusSettings(url=nats_url)
        async with AsyncExitStack() as house:
            for _ in range(3):
                await house.enter_async_context(app(settings, bus=where))
            bus = await house.enter_async_context(connect("guest", where))
            for count in range(1, 13):
                called = await python(bus, "open('log', 'a').write('x'); print(len(open('log').read()))")
                assert text_of(called.result.output) == f"{count}\n"

    async def test_when_the_holder_is_gone_another_begins_anew_and_says_so(
        self, nats_url: str, settings: Settings
    ) -> None:
        where = BusSettings(url=nats_url)
        async with connect("guest", where) as bus:
            async with app(settings, bus=where):
                await python(bus, "open('log', 'w')")
            async with app(settings, bus=where):
                called = await python(bus, "import os; print(os.listdir())")
                assert text_of(called.result.output) == "['output']\n"
                assert called.result.metadata["new_workspace"] is True

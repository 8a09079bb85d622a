"""A tool in a plain process, called over a real server as an agent does."""

import asyncio

import pytest

from natscope import client
from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import TextBlock, ToolUseBlock
from natscope.contracts.errors import ArgumentsInvalid, RequestConflict, ServiceNotRunning, SpecInvalid

ran: list[str] = []
begun = asyncio.Event()


async def shout(word: str) -> str:
    """Say a word loudly."""
    ran.append(word)
    if word == "fail":
        raise ZeroDivisionError("no such word")
    if word == "sleep":
        begun.set()
        await asyncio.sleep(60)
    return word.upper()


async def call(bus: Bus, word: object, call_id: str, **limits: float) -> tool.Called:
    use = ToolUseBlock.model_validate({"id": "c1", "name": "shout", "input": {"word": word}})
    asked = tool.Call(call_id=call_id, call=use, session="s1", limits=tool.Limits.model_validate(limits))
    return await bus.ask(tool.CALL, asked, "shout", deadline_s=20)


class TestServe:
    async def test_it_is_listed_and_answers_once_per_call_id(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        ran.clear()
        async with client.serve(shout, host="loud", settings=settings), client.open(settings) as house:
            (host,) = await house.tools()
            first = await call(house.bus, "hi", "id-1")
            again = await call(house.bus, "hi", "id-1")
            with pytest.raises(RequestConflict):
                await call(house.bus, "ho", "id-1")
        assert (host.host, [spec.name for spec in host.tools]) == ("loud", ["shout"])
        assert (first.result.state, first.result.output, first.replayed) == ("success", [TextBlock(text="HI")], False)
        assert (again.result, again.replayed) == (first.result, True)
        assert ran == ["hi"]

    async def test_a_function_that_fails_or_takes_too_long_is_an_outcome(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with client.serve(shout, settings=settings), connect("agent", settings) as bus:
            failed = await call(bus, "fail", "id-2")
            slow = await call(bus, "sleep", "id-3", deadline_s=0.2)
        assert (failed.result.state, failed.result.output) == (
            "error",
            [TextBlock(text="ZeroDivisionError: no such word")],
        )
        assert (slow.result.state, slow.result.output) == ("error", [TextBlock(text="It did not end within 0.2 s.")])

    async def test_wrong_arguments_are_refused_and_nothing_runs(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        ran.clear()
        async with client.serve(shout, settings=settings), connect("agent", settings) as bus:
            with pytest.raises(ArgumentsInvalid, match="shout: word: Input should be a valid string"):
                await call(bus, 7, "id-4")
        assert ran == []

    async def test_a_call_that_nobody_waits_for_is_stopped(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        begun.clear()
        async with client.serve(shout, settings=settings), connect("agent", settings) as bus:
            waiting = asyncio.create_task(call(bus, "sleep", "id-5"))
            await begun.wait()
            await bus.tell(tool.CANCELLED, tool.Cancelled(call_id="id-5"), "id-5")
            assert (await waiting).result.state == "interrupted"

    async def test_it_is_gone_when_its_process_is(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with connect("agent", settings) as bus:
            async with client.serve(shout, settings=settings):
                await call(bus, "hi", "id-6")
            with pytest.raises(ServiceNotRunning):
                await call(bus, "hi", "id-7")

    async def test_two_tools_of_one_name_are_refused(self, nats_url: str) -> None:
        with pytest.raises(SpecInvalid, match="same name"):
            async with client.serve(shout, shout, settings=BusSettings(url=nats_url)):
                pass

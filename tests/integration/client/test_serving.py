"""A tool in a plain process, called over a real server as an agent does."""

import asyncio
from collections.abc import Iterator

import pytest
from nats.aio.msg import Msg

from natscope import client
from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import TextBlock, ToolUseBlock
from natscope.contracts.contract import new_id
from natscope.contracts.errors import ArgumentsInvalid, RequestConflict, ServiceNotRunning, SpecInvalid
from services.agent.registry import Tools

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

    async def test_a_function_that_leaves_the_program_only_ends_its_call(self, nats_url: str) -> None:
        def plain(word: str) -> str:
            raise SystemExit(word)

        async def coroutine(word: str) -> str:
            raise SystemExit(word)

        settings = BusSettings(url=nats_url)
        for number, function in enumerate((plain, coroutine)):
            leaving = client.tool(function, name="shout")
            async with client.serve(leaving, settings=settings), connect("agent", settings) as bus:
                left = await call(bus, "bye", f"leave-{number}")
            assert (left.result.state, left.result.output) == ("error", [TextBlock(text="SystemExit: bye")])

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

    async def test_a_cancelled_call_that_had_begun_does_not_act_again_when_it_is_asked_for_again(
        self, nats_url: str
    ) -> None:
        settings, acted, up = BusSettings(url=nats_url), list[str](), asyncio.Event()

        async def slowly(word: str) -> str:
            acted.append(word)
            up.set()
            await asyncio.sleep(60)
            return word

        shouting = client.tool(slowly, name="shout")
        async with client.serve(shouting, settings=settings), connect("agent", settings) as bus:
            waiting = asyncio.create_task(call(bus, "hi", "half-done"))
            await asyncio.wait_for(up.wait(), 30)
            await bus.tell(tool.CANCELLED, tool.Cancelled(call_id="half-done"), "half-done")
            first = await waiting
            again = await asyncio.wait_for(call(bus, "hi", "half-done"), 30)
        assert (first.result.state, again.result, again.replayed) == ("interrupted", first.result, True)
        assert acted == ["hi"]

    @pytest.mark.parametrize("name", ["execute_shell", "task_list", "mcp__github__push"])
    async def test_names_of_the_house_are_refused_though_nobody_serves_them_now(self, nats_url: str, name: str) -> None:
        settings = BusSettings(url=nats_url)
        for namesakes in ("refuse", "override"):
            with pytest.raises(SpecInvalid, match=name):
                async with client.serve(client.tool(shout, name=name), namesakes=namesakes, settings=settings):
                    pass
        async with client.serve(client.tool(shout, name=name), namesakes="rename", settings=settings) as served:
            assert [each.spec.name for each in served] == [f"tools_{name}"]
        with pytest.raises(SpecInvalid, match="of the house"):
            async with client.serve(shout, host="tool-executor", settings=settings):
                pass

    async def test_a_guest_that_says_it_serves_the_houses_tools_is_not_believed(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)

        def listing(host: str, *specs: tool.ToolSpec) -> tool.Listed:
            return tool.Listed(host=host, instance=new_id(), tools=list(specs))

        def spec(name: str, **flags: object) -> tool.ToolSpec:
            return tool.ToolSpec.model_validate({"name": name, "description": "", "parameters": {}, **flags})

        async def say(bus: Bus, listed: tool.Listed) -> None:
            async def answer(message: Msg) -> None:
                await message.respond(listed.model_dump_json().encode())

            await bus.nc.subscribe(tool.LIST.wildcard, cb=answer)

        async with connect("guest", settings) as bus:
            await say(bus, listing("tool-executor", spec("execute_python"), spec("mcp__a__b")))
            await say(bus, listing("tool-executor", spec("execute_python", read_only=True, served_as="mine")))
            await say(
                bus, listing("guest", spec("mcp__c__d"), spec("grep", served_as="mine"), spec("own", read_only=True))
            )
            found = await Tools(bus).get(["*"])
        assert [each.name for each in found] == ["execute_python", "mcp__a__b", "own"]
        assert [(each.read_only, each.served_as) for each in found] == [(False, None), (False, None), (True, None)]

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

    async def test_progress_is_told_to_whoever_listens(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        heard: list[tuple[int, str]] = []

        @client.tool
        def spell(word: str) -> Iterator[str]:
            """Say a word letter by letter."""
            yield from word

        async def hear(message: Msg) -> None:
            piece = tool.Progress.model_validate_json(message.data)
            heard.append((piece.sequence, piece.text))

        async with client.serve(spell, settings=settings), connect("agent", settings) as bus:
            inbox = bus.nc.new_inbox()
            await bus.nc.subscribe(inbox, cb=hear)
            use = ToolUseBlock.model_validate({"id": "c1", "name": "spell", "input": {"word": "abc"}})
            asked = tool.Call(call_id="id-8", call=use, session="s1", deltas_to=inbox)
            called = await bus.ask(tool.CALL, asked, "spell")
            await bus.nc.flush()
        assert called.result.output == [TextBlock(text="abc")]
        assert heard == [(0, "a"), (1, "b"), (2, "c")]

    async def test_one_call_at_a_time_where_the_tool_says_so(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        running, most, together = 0, 0, asyncio.Barrier(3)

        async def narrow(word: str) -> str:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await (asyncio.sleep(0.05) if word == "alone" else together.wait())
            running -= 1
            return word

        async def call_all(at_once: int | None, ids: list[str]) -> None:
            made = client.tool(narrow, at_once=at_once) if at_once else client.tool(narrow)
            word = "alone" if at_once else "together"
            async with client.serve(made, settings=settings), connect("agent", settings) as bus:
                await asyncio.gather(*(bus.ask(tool.CALL, _narrow(id, word), "narrow") for id in ids))

        await call_all(1, ["n-1", "n-2", "n-3"])
        assert most == 1
        await call_all(None, ["n-4", "n-5", "n-6"])
        assert most == 3


class TestNamesakes:
    async def test_another_host_s_tool_is_refused_by_default(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with client.serve(shout, host="first", settings=settings):
            with pytest.raises(SpecInvalid, match="'shout' is served by 'first'"):
                async with client.serve(shout, host="second", settings=settings):
                    pass

    async def test_the_same_host_s_tool_is_no_namesake(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with (
            client.serve(shout, host="first", settings=settings),
            client.serve(shout, host="first", settings=settings) as served,
        ):
            assert [each.spec.served_as for each in served] == [None]

    async def test_it_can_be_renamed_after_its_host(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        ran.clear()
        async with (
            client.serve(shout, host="first", settings=settings),
            client.serve(shout, host="second", namesakes="rename", settings=settings) as served,
            connect("agent", settings) as bus,
        ):
            use = ToolUseBlock.model_validate({"id": "c1", "name": "second_shout", "input": {"word": "hi"}})
            called = await bus.ask(tool.CALL, tool.Call(call_id="id-9", call=use, session="s1"), "second_shout")
        assert [each.spec.name for each in served] == ["second_shout"]
        assert called.result.output == [TextBlock(text="HI")]
        assert ran == ["hi"]

    async def test_it_can_stand_before_the_other(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)

        async def whisper(word: str) -> str:
            """Say a word softly."""
            return word.lower()

        override = client.tool(whisper, name="shout")
        async with (
            client.serve(shout, host="first", settings=settings),
            client.serve(override, host="second", namesakes="override", settings=settings),
            connect("agent", settings) as bus,
        ):
            (spec,) = await Tools(bus).get(["shout"])
            softly = await bus.ask(tool.CALL, _shout("Hi", "id-10"), spec.served_as or spec.name)
            loudly = await bus.ask(tool.CALL, _shout("Hi", "id-11"), "shout")
        assert softly.result.output == [TextBlock(text="hi")]
        assert loudly.result.output == [TextBlock(text="HI")]


class TestAgents:
    async def test_see_a_tool_when_its_host_comes_and_no_more_when_the_last_one_is_gone(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with connect("agent", settings) as bus:
            tools = Tools(bus)
            await tools.start()
            await tools.get(["*"])
            async with client.serve(shout, settings=settings):
                async with client.serve(shout, settings=settings):
                    await _until(tools, ["shout"])
                await asyncio.sleep(0.5)
                await _until(tools, ["shout"])
            await _until(tools, [])


async def _until(tools: Tools, wanted: list[str]) -> None:
    """Return when agents know just these tools; well before they would ask again by themselves."""
    async with asyncio.timeout(8):
        while [spec.name for spec in await tools.get(["*"])] != wanted:  # noqa: ASYNC110 - they can only be asked
            await asyncio.sleep(0.02)


def _narrow(id: str, word: str) -> tool.Call:
    use = ToolUseBlock.model_validate({"id": "c1", "name": "narrow", "input": {"word": word}})
    return tool.Call(call_id=id, call=use, session="s1")


def _shout(word: str, id: str) -> tool.Call:
    use = ToolUseBlock.model_validate({"id": "c1", "name": "shout", "input": {"word": word}})
    return tool.Call(call_id=id, call=use, session="s1")

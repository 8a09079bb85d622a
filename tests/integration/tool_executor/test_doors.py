"""The doors on a real server, with real cells behind them."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import Base64Source, FileBlock, ToolUseBlock, URLSource, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.errors import (
    ArgumentsInvalid,
    BodyInvalid,
    RequestConflict,
    SandboxUnavailable,
    ToolNotFound,
)
from services.tool_executor.app import app
from services.tool_executor.settings import Settings


@pytest.fixture
async def bus(nats_url: str, settings: Settings) -> AsyncIterator[Bus]:
    """A guest of a house whose tool executor is open."""
    where = BusSettings(url=nats_url)
    async with app(settings, bus=where), connect("guest", where) as found:
        yield found


def ask_python(code: str, *, session: str = "s1", call_id: str | None = None, **more: object) -> tool.Call:
    call = ToolUseBlock(id="c1", name="execute_python", input={"code": code})
    return tool.Call.model_validate({"call_id": call_id or new_id(), "call": call, "session": session, **more})


async def call(bus: Bus, ask: tool.Call) -> tool.Called:
    return await bus.ask(tool.CALL, ask, ask.call.name)


class TestBeginning:
    async def test_nobody_is_told_of_an_executor_without_tools(self, nats_url: str, settings: Settings) -> None:
        where = BusSettings(url=nats_url)
        async with connect("guest", where) as guest:

            async def look() -> tool.Listed:
                while not (told := await guest.ask_all(tool.LIST, tool.List(), wait_s=0.02)):
                    pass
                return told[0]

            looking = asyncio.create_task(look())
            async with app(settings, bus=where):
                first = await looking
        assert "execute_python" in {spec.name for spec in first.tools}


class TestCalling:
    async def test_python_answers_with_what_it_printed_and_where_it_ran(self, bus: Bus, settings: Settings) -> None:
        called = await call(bus, ask_python("print(6 * 7)"))
        assert text_of(called.result.output) == "42\n"
        assert called.result.state == "success"
        assert called.backend == called.result.metadata["backend"] == settings.backend

    async def test_a_failing_program_is_a_result_not_an_error(self, bus: Bus) -> None:
        called = await call(bus, ask_python("print('before'); 1 / 0"))
        assert called.result.state == "error"
        assert called.result.metadata["exit_code"] == 1
        text = text_of(called.result.output)
        assert text.startswith("before\n")
        assert "ZeroDivisionError" in text
        assert text.endswith("[exit code 1]")

    async def test_a_program_over_its_time_is_a_result_with_what_it_had_said(self, bus: Bus) -> None:
        code = "import time; print('so far'); time.sleep(60)"
        called = await call(bus, ask_python(code, limits=tool.Limits(deadline_s=3)))
        assert called.result.state == "error"
        assert called.result.metadata["timed_out"] is True
        assert "so far" in text_of(called.result.output)

    async def test_the_shell_works_on_the_same_files(self, bus: Bus) -> None:
        await call(bus, ask_python("open('a.txt', 'w').write('shared')"))
        shell = ToolUseBlock(id="c2", name="execute_shell", input={"command": "cat a.txt"})
        called = await call(bus, tool.Call(call_id=new_id(), call=shell, session="s1"))
        assert text_of(called.result.output) == "shared"

    async def test_sessions_do_not_see_each_other_s_files(self, bus: Bus) -> None:
        await call(bus, ask_python("open('secret.txt', 'w').write('a'); open('/tmp/secret.txt', 'w')", session="a"))
        look = "import os; print(os.path.exists('secret.txt'), os.path.exists('/tmp/secret.txt'))"
        assert text_of((await call(bus, ask_python(look, session="b"))).result.output) == "False False\n"

    async def test_the_end_of_a_session_removes_its_files(self, bus: Bus) -> None:
        first = await call(bus, ask_python("open('a.txt', 'w')"))
        assert first.result.metadata["new_workspace"] is True
        await bus.tell(tool.ENDED, tool.Ended(session="s1"), "s1")
        await bus.nc.flush()
        again = await call(bus, ask_python("import os; print(os.listdir())"))
        assert text_of(again.result.output) == "['output']\n"
        assert again.result.metadata["new_workspace"] is True

    async def test_progress_goes_to_no_subject_that_is_none_or_the_server_s_own(self, bus: Bus) -> None:
        for subject in ("a b", "a.*", "$KV.usage.a"):
            ask = ask_python("open('ran', 'w')").model_copy(update={"deltas_to": subject})
            with pytest.raises(BodyInvalid, match=r"deltas_to: .* is no subject"):
                await call(bus, ask)
        look = await call(bus, ask_python("import os; print(os.path.exists('ran'))"))
        assert text_of(look.result.output) == "False\n"

    async def test_progress_comes_while_the_program_runs(self, bus: Bus) -> None:
        inbox = bus.nc.new_inbox()
        heard = await bus.nc.subscribe(inbox)
        code = "import sys, time\nprint('é' * 3); time.sleep(0.2); print('two', file=sys.stderr)"
        await call(bus, ask_python(code, call_id="call-1", deltas_to=inbox))
        said: list[tool.Progress] = []
        while not said or "two" not in said[-1].text:
            said.append(tool.Progress.model_validate_json((await heard.next_msg(timeout=20)).data))
        assert [piece.sequence for piece in said] == list(range(len(said)))
        assert "".join(piece.text for piece in said if piece.stream == "stdout") == "ééé\n"
        assert {piece.call_id for piece in said} == {"call-1"}


class TestFiles:
    async def test_an_attached_blob_is_in_the_workspace(self, bus: Bus) -> None:
        data = bytes(range(256)) * 4096
        source = await bus.blobs.store(data, "application/octet-stream")
        file = FileBlock(name="data file.bin", source=source)
        code = "data = open('data file.bin', 'rb').read(); print(len(data), data == bytes(range(256)) * 4096)"
        called = await call(bus, ask_python(code, files=[file]))
        assert text_of(called.result.output) == "1048576 True\n"

    async def test_a_file_that_is_there_already_is_left_as_it_is(self, bus: Bus) -> None:
        inline = Base64Source(data=base64.b64encode(b"attached").decode(), media_type="text/plain")
        file = FileBlock(name="a.txt", source=inline)
        await call(bus, ask_python("open('a.txt', 'a').write(' and changed')", files=[file]))
        called = await call(bus, ask_python("print(open('a.txt').read())", files=[file]))
        assert text_of(called.result.output) == "attached and changed\n"

    async def test_a_blob_that_is_gone_is_named_and_the_program_runs(self, bus: Bus) -> None:
        file = FileBlock(name="x", source=URLSource(url="nats://blob/blobs/nothing", media_type="text/plain"))
        called = await call(bus, ask_python("import os; print(os.listdir())", files=[file]))
        printed, told = called.result.output
        assert text_of([printed]) == "['output']\n"
        assert text_of([told]).startswith("[x is not in the workspace: blob 'nats://blob/blobs/nothing' is gone")


class TestOnce:
    async def test_a_repeated_call_gets_the_recorded_outcome_and_does_not_act_again(self, bus: Bus) -> None:
        ask = ask_python("open('log', 'a').write('x'); print(open('log').read())")
        first, again = await call(bus, ask), await call(bus, ask)
        assert (first.replayed, again.replayed) == (False, True)
        assert again.result == first.result
        assert text_of((await call(bus, ask_python("print(open('log').read())"))).result.output) == "x\n"

    async def test_an_id_used_for_another_call_is_refused(self, bus: Bus) -> None:
        await call(bus, ask_python("print(1)", call_id="same"))
        with pytest.raises(RequestConflict):
            await call(bus, ask_python("print(2)", call_id="same"))

    async def test_a_cancelled_call_stops_and_says_so(self, bus: Bus) -> None:

        ask = ask_python(
            "import time; print('up'); time.sleep(60)", call_id="stop-me", deltas_to=(inbox := bus.nc.new_inbox())
        )
        heard = await bus.nc.subscribe(inbox)
        task = asyncio.create_task(call(bus, ask))
        await heard.next_msg(timeout=20)
        await bus.tell(tool.CANCELLED, tool.Cancelled(call_id="stop-me"), "stop-me")
        assert (await asyncio.wait_for(task, 30)).result.state == "interrupted"
        assert text_of((await call(bus, ask_python("print('usable')"))).result.output) == "usable\n"

    async def test_a_cancelled_call_that_had_begun_does_not_act_again_when_it_is_asked_for_again(
        self, bus: Bus
    ) -> None:
        code = "import time; open('log', 'a').write('x'); print('acted'); time.sleep(60)"
        ask = ask_python(code, call_id="half-done", deltas_to=(inbox := bus.nc.new_inbox()))
        heard = await bus.nc.subscribe(inbox)
        task = asyncio.create_task(call(bus, ask))
        await heard.next_msg(timeout=20)
        await bus.tell(tool.CANCELLED, tool.Cancelled(call_id="half-done"), "half-done")
        first = await asyncio.wait_for(task, 30)
        again = await asyncio.wait_for(call(bus, ask), 30)
        assert (first.replayed, again.replayed) == (False, True)
        assert again.result == first.result
        assert text_of((await call(bus, ask_python("print(open('log').read())"))).result.output) == "x\n"


class TestRefusing:
    async def test_wrong_arguments_are_told_with_what_was_expected(self, bus: Bus) -> None:
        wrong = ToolUseBlock(id="c", name="execute_python", input={"source": "print(1)"})
        with pytest.raises(ArgumentsInvalid, match="code: Field required") as caught:
            await call(bus, tool.Call(call_id=new_id(), call=wrong, session="s1"))
        assert '"code"' in str(caught.value)

    async def test_an_unknown_tool_is_told_with_those_there_are(self, bus: Bus) -> None:
        wrong = tool.Call(call_id=new_id(), call=ToolUseBlock(id="c", name="fly"), session="s1")
        with pytest.raises(ToolNotFound, match="execute_python"):
            await bus.ask(tool.CALL, wrong, "execute_python")


class TestListing:
    async def test_every_tool_is_listed_with_its_schema_and_the_backend(self, bus: Bus, settings: Settings) -> None:
        async with asyncio.timeout(30):
            while not (told := await bus.ask_all(tool.LIST, tool.List(), wait_s=1)):
                pass
        (listed,) = told
        assert {spec.name for spec in listed.tools} == {
            *("execute_python", "execute_shell", "read_file", "write_file", "edit_file", "list_files", "glob", "grep"),
            *("task_create", "task_get", "task_list", "task_update"),
        }
        assert listed.tools[0].parameters["required"] == ["code"]
        assert listed.backend == settings.backend


class TestNowhere:
    async def test_without_walls_every_call_is_refused_with_a_remedy(self, nats_url: str) -> None:
        where = BusSettings(url=nats_url)
        async with app(Settings(backend="none"), bus=where), connect("guest", where) as bus:
            with pytest.raises(SandboxUnavailable, match="Docker engine"):
                await call(bus, ask_python("print(1)"))

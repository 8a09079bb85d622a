"""What a tool call comes to, behind the door and in front of the cells."""

import asyncio
from datetime import timedelta

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts import tool
from natscope.contracts.blocks import FileBlock, TextBlock, ToolResultBlock, ToolUseBlock, URLSource
from natscope.contracts.errors import (
    ArgumentsInvalid,
    Failure,
    Overloaded,
    SandboxUnavailable,
    ToolNotFound,
)
from services.tool_executor.cells import Program
from services.tool_executor.settings import Settings
from services.tool_executor.tools.programs import PYTHON
from tests.doors.tool_executor.fakes import FakeBackend
from tests.doors.tool_executor.house import House


class TestCalling:
    async def test_the_program_runs_in_its_session_s_cell(self) -> None:
        house = House()
        await house.python("one", session="a")
        await house.python("two", session="b")
        await house.python("three", session="a")
        assert [cell.session for cell in house.backend.cells] == ["a", "b"]
        assert [program for program, _ in house.backend.cells[0].runs] == [
            Program("python", "one"),
            Program("python", "three"),
        ]

    async def test_a_failing_program_is_a_result(self) -> None:
        called = await House().python("fail")
        assert called.result.state == "error"
        assert called.result.metadata["exit_code"] == 1

    async def test_a_failing_sandbox_is_an_error_and_nothing_is_recorded(self) -> None:
        house = House(FakeBackend(problem="no engine"))
        with pytest.raises(SandboxUnavailable, match="no engine"):
            await house.python("one")
        assert house.once.kept == {}

    async def test_limits_of_the_call_hold_within_the_house_s_ceiling(self) -> None:
        house = House()
        limits = tool.Limits(deadline_s=3600, memory_bytes=64 << 20, output_bytes=1 << 30)
        await house.python("one", limits=limits)
        ((_, used),) = house.backend.cells[0].runs
        assert used.wall_clock == timedelta(seconds=300)
        assert (used.memory_bytes, used.output_bytes) == (64 << 20, 1 << 20)

    async def test_progress_goes_where_the_asker_said_without_a_gap(self) -> None:
        house = House()
        await house.python("a b c", id="p-1", deltas_to="_INBOX.me")
        assert {subject for subject, _ in house.say.said} == {"_INBOX.me"}
        assert [(piece.call_id, piece.sequence, piece.text) for piece in house.say.progress] == [
            ("p-1", 0, "a"),
            ("p-1", 1, "b"),
            ("p-1", 2, "c"),
        ]

    async def test_nobody_is_told_who_did_not_ask(self) -> None:
        house = House()
        await house.python("a b c")
        assert house.say.said == []


class TestOnce:
    async def test_a_repeated_call_does_not_act_again(self) -> None:
        house = House()
        first, again = await house.python("one", id="same"), await house.python("one", id="same")
        assert (first.replayed, again.replayed) == (False, True)
        assert len(house.backend.cells[0].runs) == 1

    async def test_a_call_that_had_begun_elsewhere_is_unknown(self) -> None:
        house = House()
        house.once.begun.add("lost")
        called = await house.python("one", id="lost")
        assert called.result.state == "unknown"
        assert house.backend.cells == []

    async def test_a_cell_lost_in_the_middle_makes_the_call_unknown_and_the_next_one_gets_a_new_cell(self) -> None:
        house = House()
        await house.python("one")
        house.backend.cells[0].die = True
        assert (await house.python("two")).result.state == "unknown"
        again = await house.python("three")
        assert (again.result.state, again.result.metadata["new_workspace"]) == ("success", True)
        assert await house.backend.cells[0].gone()


class TestElsewhere:
    async def test_a_call_for_a_cell_of_another_executor_is_answered_by_that_one(self) -> None:
        house = House()
        there = tool.Called(result=ToolResultBlock(id="c1", name="execute_python"), backend="there")
        house.elsewhere.answer = there
        assert await house.python("one") == there
        assert house.backend.cells == []

    async def test_a_session_that_was_taken_over_runs_nothing_here_though_its_cell_is_still_there(
        self,
    ) -> None:
        house = House()
        await house.python("one")
        there = tool.Called(result=ToolResultBlock(id="c1", name="execute_python"), backend="there")
        house.elsewhere.answer = there
        assert await house.python("two", id="taken") == there
        assert [program.source for program, _ in house.backend.cells[0].runs] == ["one"]
        assert "taken" not in house.once.kept

    async def test_a_cell_that_still_is_its_own_is_used_without_asking_others(self) -> None:
        house = House()
        await house.python("one")
        await house.python("two")
        assert len(house.elsewhere.asked) == 1

    async def test_wrong_arguments_are_told_before_anybody_is_asked(self) -> None:
        house = House()
        with pytest.raises(ArgumentsInvalid):
            await house.raw(ToolUseBlock(id="c", name="execute_python"))
        assert house.elsewhere.asked == []


class TestFiles:
    FILE = FileBlock(name="a.csv", source=URLSource(url="nats://blob/blobs/a", media_type="text/csv"))

    async def test_they_are_placed_before_the_first_program_and_once(self) -> None:
        house = House()
        await house.python("one", files=[self.FILE])
        await house.python("two", files=[self.FILE])
        assert house.backend.cells[0].files == {"a.csv": b"1,2"}
        assert house.media.asked == ["a.csv"]

    async def test_a_new_cell_gets_them_again(self) -> None:
        house = House()
        await house.python("one", files=[self.FILE])
        await house.sessions.end("s1")
        await house.python("two", files=[self.FILE])
        assert house.backend.cells[1].files == {"a.csv": b"1,2"}

    async def test_one_that_finds_no_place_holds_no_call_up_and_comes_once_there_is_one(self) -> None:
        house = House()
        house.media.blobs["data/a.csv"] = b"3,4"
        assert (await house.use("write_file", path="data", content="a file that is no folder")).state == "success"
        source = URLSource(url="nats://blob/blobs/a", media_type="text/csv")
        files = [FileBlock(name="data/a.csv", source=source), self.FILE]
        called = await house.python("one", files=files)
        assert [block.text for block in called.result.output if isinstance(block, TextBlock)] == [
            "one",
            "[data/a.csv is not in the workspace: 'data' is not a folder]",
        ]
        del house.backend.cells[0].files["data"]
        assert (await house.python("two", files=files)).result.output == [TextBlock(text="two")]
        assert sorted(house.backend.cells[0].files) == ["a.csv", "data/a.csv"]

    async def test_only_the_first_few_without_a_place_are_named(self) -> None:
        house = House()
        house.media.blobs |= {f"data/{number}": b"" for number in range(9)}
        await house.use("write_file", path="data", content="")
        files = [self.FILE.model_copy(update={"name": f"data/{number}"}) for number in range(9)]
        output = (await house.python("one", files=files)).result.output
        assert output[-1] == TextBlock(text="[and 6 more]")
        assert len(output) == 5

    async def test_one_that_is_gone_is_named_once_and_holds_no_call_up(self) -> None:
        house = House()
        gone = FileBlock(name="b.csv", source=URLSource(url="nats://blob/blobs/b", media_type="text/csv"))
        one, two = [(await house.python(code, files=[gone, self.FILE])).result for code in ("one", "two")]
        told = TextBlock(text="[b.csv is not in the workspace: blob of 'b.csv' is gone]")
        assert (one.output, two.output) == ([TextBlock(text="one"), told], [TextBlock(text="two")])
        assert house.backend.cells[0].files == {"a.csv": b"1,2"}


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "fault"),
        [
            ({}, "code: Field required"),
            ({"code": 3}, "code: Input should be a valid string"),
            ({"code": ""}, "code: String should have at least 1 character"),
            ({"code": "x", "timeout": 3}, "timeout: Extra inputs are not permitted"),
            ({"code": "é" * 800_000}, "over the limit"),
        ],
    )
    async def test_what_does_not_fit_is_told_with_what_was_expected(
        self, arguments: dict[str, object], fault: str
    ) -> None:
        call = ToolUseBlock.model_validate({"id": "c", "name": "execute_python", "input": arguments})
        with pytest.raises(ArgumentsInvalid, match=fault) as caught:
            await House().raw(call)
        assert '{"code": {' in str(caught.value)
        assert caught.value.details["expected"]

    async def test_what_is_no_json_is_told_as_it_was_written(self) -> None:
        call = ToolUseBlock(id="c", name="execute_shell", raw_input='{"command": "ls')
        with pytest.raises(ArgumentsInvalid, match="no JSON object"):
            await House().raw(call)

    async def test_of_a_call_that_is_marked_as_of_no_use_are_refused_whatever_they_are(self) -> None:
        failure = Failure(code="output_invalid", message="it was cut off by the token limit")
        sound = ToolUseBlock(
            id="c", name="execute_python", input={"code": "print(1)"}, raw_input='{"code": "print(1)"}'
        )
        house = House()
        with pytest.raises(ArgumentsInvalid, match="cut off by the token limit"):
            await house.raw(sound.model_copy(update={"failure": failure}))
        assert house.backend.cells == []
        assert (await house.raw(sound)).result.state == "success"

    @given(arguments=st.dictionaries(st.sampled_from(["code", "x"]), st.sampled_from(["", "a", 1, None, True, [], {}])))
    async def test_are_refused_wherever_the_schema_that_the_model_was_told_refuses_them(
        self, arguments: dict[str, object]
    ) -> None:
        call = ToolUseBlock.model_validate({"id": "c", "name": "execute_python", "input": arguments})
        told = PYTHON.spec.parameters
        if jsonschema_rs.is_valid(told, arguments):
            assert (await House().raw(call)).result.state == "success"
        else:
            with pytest.raises(ArgumentsInvalid):
                await House().raw(call)

    async def test_an_unknown_tool_is_told_with_those_there_are(self) -> None:
        with pytest.raises(ToolNotFound, match=r"'fly'.*execute_python.*execute_shell"):
            await House().raw(ToolUseBlock(id="c", name="fly"))


class TestSessions:
    async def test_one_session_s_calls_wait_for_one_another_and_others_do_not(self) -> None:
        go_on = asyncio.Event()
        house = House(FakeBackend(go_on=go_on))
        calls = [asyncio.create_task(house.python(f"{n}", session=s, id=f"{s}{n}")) for s in "ab" for n in range(2)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert [len(cell.runs) for cell in house.backend.cells] == [1, 1]
        go_on.set()
        await asyncio.gather(*calls)
        assert [len(cell.runs) for cell in house.backend.cells] == [2, 2]

    async def test_when_all_cells_are_busy_a_further_session_is_refused(self) -> None:
        go_on = asyncio.Event()
        house = House(FakeBackend(go_on=go_on))
        busy = [asyncio.create_task(house.python("x", session=s, id=s)) for s in "ab"]
        for _ in range(20):
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="all 2 cells"):
            await house.python("x", session="c", id="c")
        go_on.set()
        await asyncio.gather(*busy)

    async def test_the_cell_idle_for_longest_makes_room(self) -> None:
        house = House()
        for session in "abc":
            await house.python("x", session=session, id=session)
        assert [cell.closed for cell in house.backend.cells] == [True, False, False]

    async def test_idle_cells_are_removed_and_busy_ones_are_not(self) -> None:
        house = House(settings=Settings(idle_after=timedelta(0), max_cells=4))
        await house.python("x", session="a")
        house.backend.go_on = asyncio.Event()
        busy = asyncio.create_task(house.python("x", session="b"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert await house.sessions.cull() == 1
        assert [cell.closed for cell in house.backend.cells] == [True, False]
        house.backend.go_on.set()
        await busy

    async def test_the_end_of_a_session_that_has_no_cell_is_no_trouble(self) -> None:
        await House().sessions.end("never-seen")

    async def test_closing_removes_every_cell(self) -> None:
        house = House()
        await house.python("x", session="a")
        await house.sessions.close()
        assert house.backend.cells[0].closed

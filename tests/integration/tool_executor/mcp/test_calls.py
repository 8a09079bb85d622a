"""Calls of a real server's tools."""

import asyncio
import os
import signal

import pytest

from natscope.contracts.blocks import AudioBlock, FileBlock, ImageBlock, TextBlock
from natscope.contracts.errors import DeadlineExceeded, ToolUnavailable
from tests.loopback.mcp_house import McpHouse, took


class TestACall:
    async def test_is_answered_with_text_and_its_structured_result(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            result = await up.call("add", a=2, b=3)
        assert (result.state, result.output, result.metadata) == (
            "success",
            [TextBlock(text="5")],
            {"structured": {"result": 5}},
        )

    async def test_tells_its_progress(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            await up.call("count", to=2)
        assert house.heard == ["1/2 at 1", "2/2 at 2"]

    async def test_takes_its_trace_along(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            with house.telemetry.span("above") as span:
                text = await up.text("trace")
        assert text.split("-")[1] == f"{span.get_span_context().trace_id:032x}"

    async def test_of_a_tool_that_fails_is_a_result_in_state_error(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            assert (await up.call("fail")).state == "error"

    async def test_brings_media_of_each_kind(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            result = await up.call("media", size=100_000)
        kinds = [type(block) for block in result.output]
        assert kinds == [TextBlock, ImageBlock, AudioBlock, TextBlock, FileBlock, TextBlock]
        assert up.store.sizes == [100_000] * 3
        assert [block.name for block in result.output if isinstance(block, FileBlock)] == ["some_table.bin"]

    async def test_runs_beside_others(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            await up.until("note_slowly")
            _, seconds = await took(asyncio.gather(*(up.call("note_slowly", text="x", seconds=3) for _ in range(8))))
        assert seconds < 24, "one after the other"

    async def test_gives_preset_arguments_whatever_the_model_writes(self, house: McpHouse) -> None:
        preset = {"secret": {"env": "KEY"}, "author": "us"}
        house.real(tools={"note": {"preset": preset}})
        async with house.up({"KEY": "k3y"}) as up:
            await up.call("note", text="a", author="them", secret="guess")
            shown = up.servers.tools["mcp__s__note"].spec.parameters["properties"]
        assert house.lines == ["a|us|k3y"]
        assert isinstance(shown, dict)
        assert list(shown) == ["text"]

    async def test_shows_no_secret_that_its_server_was_given(self, house: McpHouse) -> None:
        house.real(tools={"note": {"preset": {"author": {"env": "OUR_TOKEN"}}}})
        async with house.up({"OUR_TOKEN": "t0ken-of-ours"}) as up:
            assert await up.text("note", text="a") == "noted a by [OUR_TOKEN is not shown]"
        assert house.lines == ["a|t0ken-of-ours|"]

    async def test_with_a_hidden_argument_leaves_it_to_the_server(self, house: McpHouse) -> None:
        async with house.real(tools={"note": {"hidden": ["author"]}}).up() as up:
            await up.call("note", text="a", author="them")
        assert house.lines == ["a|nobody|"]


class TestACallWithoutAnAnswer:
    async def test_is_unknown_and_not_made_again(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            await up.until("note_slowly")
            result, seconds = await took(up.call("note_slowly", text="once", seconds=100, deadline_s=5.0))
        assert (result.state, house.lines) == ("unknown", ["once"])
        assert seconds < 60

    async def test_because_the_server_died_is_unknown_and_the_next_call_finds_it_back(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            first = await up.text("ping")
            result, seconds = await took(up.call("die"))
            second = await up.text("ping")
        assert (result.state, seconds < 40) == ("unknown", True)
        assert first != second

    async def test_of_an_idempotent_tool_is_made_again(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            result = await up.call("note_same", text="again")
        assert (result.state, house.lines) == ("success", ["again", "again"])

    async def test_of_a_tool_that_is_not_is_never_made_again(self, house: McpHouse) -> None:
        """The control: the same tool, but the operator says that it is not idempotent."""
        async with house.real(tools={"note_same": {"idempotent": False}}).up() as up:
            result = await up.call("note_same", text="again")
        assert (result.state, house.lines) == ("unknown", ["again"])

    async def test_of_a_read_only_tool_is_an_error_that_may_be_tried_again(self, house: McpHouse) -> None:
        house.bare(tools={"mute": {"read_only": True}})
        async with house.up() as up:
            error, seconds = await took(up.call("mute", deadline_s=0.5))
        assert isinstance(error, DeadlineExceeded)
        assert (error.retryable, seconds < 40) == (True, True)

    async def test_has_a_server_that_answers_nothing_at_all_started_anew(self, house: McpHouse) -> None:
        async with house.real(start_s=60).up() as up:
            before = await up.text("pid")
            stopped = int(before)
            os.kill(stopped, signal.SIGSTOP)
            error, _ = await took(up.call("pid", deadline_s=0.3))
            after = await up.text("pid", deadline_s=60)
        assert isinstance(error, DeadlineExceeded)
        assert after != before

    @pytest.mark.parametrize("manner", ["garbled", "wrong"])
    async def test_that_can_be_read_is_unknown(self, house: McpHouse, manner: str) -> None:
        async with house.bare(manner).up() as up:
            result = await up.call("note", deadline_s=6.0)
        assert (result.state, len(house.lines)) == ("unknown", 1)


class TestASessionPerCall:
    async def test_is_another_process_each_time_of_which_none_stays(self, house: McpHouse) -> None:
        async with house.bare(session="per_call").up() as up:
            texts = {await up.text("ping") for _ in range(3)}
            assert await house.gone()
        assert len(texts) == 3

    async def test_that_dies_is_unknown(self, house: McpHouse) -> None:
        async with house.bare(session="per_call").up() as up:
            assert (await up.call("die")).state == "unknown"

    async def test_that_cannot_be_opened_has_sent_nothing(self, house: McpHouse) -> None:
        async with house.bare("once", session="per_call").up() as up:
            error, _ = await took(up.call("note"))
        assert isinstance(error, ToolUnavailable)
        assert house.lines == []

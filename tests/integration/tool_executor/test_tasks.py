"""The task list on a real server, changed by several executors at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from services.tool_executor.app import app
from services.tool_executor.settings import Settings

NOWHERE = Settings(backend="none")


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A guest of a house with two executors, neither of which has a backend."""
    where = BusSettings(url=nats_url)
    async with app(NOWHERE, bus=where), app(NOWHERE, bus=where), connect("guest", where) as found:
        yield found


async def use(bus: Bus, name: str, *, session: str = "s1", **arguments: object) -> ToolResultBlock:
    call = ToolUseBlock.model_validate({"id": "c", "name": name, "input": arguments})
    return (await bus.ask(tool.CALL, tool.Call(call_id=new_id(), call=call, session=session), name)).result


class TestTasks:
    async def test_a_list_is_kept_and_shown_without_any_cell(self, bus: Bus) -> None:
        await use(bus, "task_create", subject="Read the table")
        await use(bus, "task_create", subject="Draw it", blocked_by=["1"])
        await use(bus, "task_update", task_id="1", status="in_progress", owner="ann")
        text = text_of((await use(bus, "task_list")).output)
        assert text == "1. [in_progress] Read the table (ann)\n2. [pending] Draw it (waits for 1)"

    async def test_one_task_is_shown_with_all_that_is_known_of_it(self, bus: Bus) -> None:
        await use(bus, "task_create", subject="a", description="All of it.", metadata={"n": 1})
        await use(bus, "task_create", subject="b", blocked_by=["1"])
        text = text_of((await use(bus, "task_get", task_id="1")).output)
        assert text == '1. [pending] a\nAll of it.\nblocks: 2\nmetadata: {"n": 1}'

    async def test_sessions_have_lists_of_their_own(self, bus: Bus) -> None:
        await use(bus, "task_create", subject="a", session="a")
        assert text_of((await use(bus, "task_list", session="b")).output) == "[no tasks yet]"

    async def test_a_circle_is_refused_as_a_result_that_names_it(self, bus: Bus) -> None:
        await use(bus, "task_create", subject="a")
        await use(bus, "task_create", subject="b", blocked_by=["1"])
        result = await use(bus, "task_update", task_id="1", add_blocked_by=["2"])
        assert result.state == "error"
        assert "1, 2" in text_of(result.output)

    async def test_what_is_deleted_is_gone(self, bus: Bus) -> None:
        await use(bus, "task_create", subject="a")
        await use(bus, "task_update", task_id="1", status="deleted")
        assert text_of((await use(bus, "task_list")).output) == "[no tasks yet]"

    async def test_each_result_tells_the_agent_what_is_left(self, bus: Bus) -> None:
        before = _left(await use(bus, "task_list"))
        for n in range(12):
            await use(bus, "task_create", subject=f"task {n}")
        await use(bus, "task_update", task_id="12", status="in_progress")
        left = _left(await use(bus, "task_update", task_id="1", status="completed"))
        assert (before.tasks, before.change < left.change) == ([], True)
        assert (left.tasks[0], left.tasks[1], left.more) == ("12. [in_progress] task 11", "2. [pending] task 1", 1)

    async def test_no_change_is_lost_when_several_are_made_at_once(self, bus: Bus) -> None:
        results = await asyncio.gather(*(use(bus, "task_create", subject=f"task {n}") for n in range(10)))
        assert {str(result.metadata["task_id"]) for result in results} == {str(n) for n in range(1, 11)}
        assert (await use(bus, "task_list")).metadata["tasks"] == 10


def _left(result: ToolResultBlock) -> tool.OpenTasks:
    return tool.OpenTasks.model_validate(result.metadata[tool.OPEN_TASKS])

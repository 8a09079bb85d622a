"""Where an agent calls tools, and what it makes of hosts that are gone."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from natscope.bus import Bus, Doors, open_room
from natscope.contracts import model, tool
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, plain, text_of
from natscope.contracts.contract import new_id
from tests.integration.agent.house import SPEC, House, Model, call, house, reply

MCP_TOOL = tool.ToolSpec(name="mcp__s__add", description="Add.", parameters={"type": "object"})


HOST = """
import asyncio, sys
from natscope import client
from natscope.bus import BusSettings

async def once(word: str) -> str:
    print("begun", flush=True)
    await asyncio.sleep(600)
    return word

async def main():
    again = client.tool(once, name="again", idempotent=True)
    async with client.serve(once, again, host="victim", settings=BusSettings(url=sys.argv[1])):
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
"""A process that serves two tools; a call of either takes ten minutes."""


@asynccontextmanager
async def _victim(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-c", HOST, url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        await _says(process, "up")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _says(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert (await process.stdout.readline()).decode().strip() == word


def _executor(bus: Bus) -> Doors:
    doors = Doors(bus)

    @doors.answers(tool.MCP, key=MCP_TOOL.name)
    async def add(body: tool.Call) -> tool.Called:
        return tool.Called(
            result=ToolResultBlock(id=body.call.id, name=MCP_TOOL.name, output=plain("3"), state="success")
        )

    @doors.answers(tool.LIST, queue="")
    async def listed(body: tool.List) -> tool.Listed:
        return tool.Listed(host=tool.CALL.room, instance=new_id(), tools=[MCP_TOOL])

    return doors


def _answering(answers: list[model.Chatted]) -> Model:
    async def mind(_: model.Chat) -> model.Chatted:
        return answers.pop(0)

    return mind


def _results(here: House) -> list[ToolResultBlock]:
    """Return the results that the model was shown in its second ask."""
    return [block for each in here.asked[1].messages for block in each.content if isinstance(block, ToolResultBlock)]


class TestAToolOfAnMcpServer:
    async def test_is_called_where_no_guest_can_serve_it(self, nats_url: str) -> None:
        async with house(nats_url, SPEC.model_copy(update={"tools": [MCP_TOOL.name]})) as here:
            overheard = await here.bus.nc.subscribe("tool.call.*")
            async with open_room(tool.CALL.room, settings=here.settings) as room:
                await room.serve(_executor(room.bus))
                replies = [call(ToolUseBlock(id="c1", name=MCP_TOOL.name, input={}, raw_input="{}")), reply("3")]
                here.mind = _answering(replies)
                outcome = await here.run("Add.")
            assert (outcome.state, outcome.tool_calls, overheard.pending_msgs) == ("completed", 1, 0)
            assert [text_of(each.output) for each in _results(here)] == ["3"]


class TestAHostThatIsKilled:
    async def test_costs_a_call_its_outcome_and_little_time(self, nats_url: str) -> None:
        async with (
            _victim(nats_url) as victim,
            house(nats_url, SPEC.model_copy(update={"tools": ["once", "again"]})) as here,
        ):
            uses = [ToolUseBlock(id=name, name=name, input={"word": "hi"}) for name in ("once", "again")]
            here.mind = _answering([call(*uses), reply("Gone.")])
            running = asyncio.create_task(here.run("Say it."))
            for _ in uses:
                await _says(victim, "begun")
            victim.kill()
            outcome = await asyncio.wait_for(running, 30)
            first, second = _results(here)
        assert outcome.text == "Gone."
        assert (first.state, "'victim' died" in text_of(first.output)) == ("unknown", True)
        assert (second.state, "could not be reached" in text_of(second.output)) == ("error", True)

"""Where an agent calls tools, and what it makes of hosts that are gone."""

from natscope.bus import Bus, Doors, open_room
from natscope.contracts import model, tool
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, plain, text_of
from natscope.contracts.contract import new_id
from tests.integration.agent.house import SPEC, Model, call, house, reply

MCP_TOOL = tool.ToolSpec(name="mcp__s__add", description="Add.", parameters={"type": "object"})


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


def _says(answers: list[model.Chatted]) -> Model:
    async def mind(_: model.Chat) -> model.Chatted:
        return answers.pop(0)

    return mind


class TestAToolOfAnMcpServer:
    async def test_is_called_where_no_guest_can_serve_it(self, nats_url: str) -> None:
        async with house(nats_url, SPEC.model_copy(update={"tools": [MCP_TOOL.name]})) as here:
            overheard = await here.bus.nc.subscribe("tool.call.*")
            async with open_room(tool.CALL.room, settings=here.settings) as room:
                await room.serve(_executor(room.bus))
                replies = [call(ToolUseBlock(id="c1", name=MCP_TOOL.name, input={}, raw_input="{}")), reply("3")]
                here.mind = _says(replies)
                outcome = await here.run("Add.")
            assert (outcome.state, outcome.tool_calls, overheard.pending_msgs) == ("completed", 1, 0)
            shown = [block for each in here.asked[1].messages for block in each.content]
            assert [text_of(block.output) for block in shown if isinstance(block, ToolResultBlock)] == ["3"]

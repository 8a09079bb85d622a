"""The trivial tool of every contender, and the process that serves it."""

import argparse
import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvloop

from natscope.bus import BusSettings, Doors, Ledger, open_room
from natscope.bus.streams import CALLS
from natscope.contracts import tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolResultBlock, plain
from natscope.telemetry import Telemetry, names

PROMPT = "You help."
QUESTION = "What is the lucky number?"
SPEC = tool.ToolSpec(
    name="lucky_number", description="Return the lucky number.", parameters={"type": "object", "properties": {}}
)
AGENT = AgentSpec(name="bench", description="Asks one tool.", system_prompt=PROMPT, tools=[SPEC.name])


def lucky_number() -> str:
    """Return the lucky number."""
    return "42"


@asynccontextmanager
async def served(*, bus: BusSettings, telemetry: Telemetry | None = None) -> AsyncGenerator[None]:
    """Serve the tool for as long as the body runs; as every tool host, it acts once for each call id."""
    async with open_room("lucky", description="One trivial tool.", settings=bus, telemetry=telemetry) as room:
        doors = Doors(room.bus)
        outcomes = Ledger(room.bus, room.instance, bucket=CALLS, answer=tool.Called)

        @doors.answers(tool.CALL, key=SPEC.name)
        async def call(ask: tool.Call) -> tool.Called:
            async def work() -> tool.Called:
                return tool.Called(result=ToolResultBlock(id=ask.call.id, name=SPEC.name, output=plain(lucky_number())))

            attributes = {names.OPERATION: "execute_tool", names.TOOL: SPEC.name, names.TOOL_CALL_ID: ask.call.id}
            with room.bus.telemetry.span(f"execute_tool {SPEC.name}", attributes=attributes):
                called, _ = await outcomes.once(ask.call_id, ask, work, ignoring={"deltas_to"})
                return called

        @doors.answers(tool.LIST, queue="")
        async def listed(_: tool.List) -> tool.Listed:
            return tool.Listed(host="lucky", instance=room.instance.id, tools=[SPEC])

        await room.serve(doors)
        yield


async def _serve(url: str) -> None:
    async with served(bus=BusSettings(url=url)):
        await asyncio.Event().wait()


def main() -> None:
    """Serve the tool until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tool", description=main.__doc__)
    parser.add_argument("--nats", required=True)
    uvloop.run(_serve(parser.parse_args().nats))


if __name__ == "__main__":
    main()

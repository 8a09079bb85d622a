"""The trivial tool of every contender, the agent that uses it, and the process that serves it."""

import argparse
import asyncio

import uvloop

from natscope import client
from natscope.bus import BusSettings
from natscope.contracts.agent import AgentSpec

PROMPT = "You help."
QUESTION = "What is the lucky number?"


async def lucky_number() -> str:
    """Return the lucky number."""
    return "42"


TOOL = client.tool(lucky_number)
AGENT = AgentSpec(name="bench", description="Asks one tool.", system_prompt=PROMPT, tools=[TOOL.spec.name])


async def until_served(house: client.House) -> None:
    """Return once the house offers the tool; a run that begins before might do without it."""
    async with asyncio.timeout(120):
        while not any(  # noqa: ASYNC110 - nobody tells that a tool is served
            each == TOOL.spec for host in await house.tools() for each in host.tools
        ):
            await asyncio.sleep(0.1)


async def _serve(url: str) -> None:
    async with client.serve(TOOL, settings=BusSettings(url=url)):
        await asyncio.Event().wait()


def main() -> None:
    """Serve the tool until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tool", description=main.__doc__)
    parser.add_argument("--nats", required=True)
    uvloop.run(_serve(parser.parse_args().nats))


if __name__ == "__main__":
    main()

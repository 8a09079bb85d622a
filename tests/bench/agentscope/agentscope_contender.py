"""AgentScope as a contender of the bench: it takes the orders of `tests.bench.contender`, in a venv of its own."""

import asyncio
import json
import os
import sys
import time

import uvloop
from agentscope.agent import Agent  # pyright: ignore[reportMissingImports]
from agentscope.credential import OpenAICredential  # pyright: ignore[reportMissingImports]
from agentscope.message import Msg, TextBlock  # pyright: ignore[reportMissingImports]
from agentscope.model import OpenAIChatModel  # pyright: ignore[reportMissingImports]
from agentscope.permission import (  # pyright: ignore[reportMissingImports]
    PermissionBehavior,
    PermissionDecision,
)
from agentscope.tool import FunctionTool, Toolkit  # pyright: ignore[reportMissingImports]

PROMPT = "You help."
QUESTION = "What is the lucky number?"


async def lucky_number() -> str:
    """Return the lucky number."""
    return "42"


def agent() -> Agent:
    """Return an agent with nothing behind it, as a run of the house has."""
    allowed = PermissionDecision(behavior=PermissionBehavior.ALLOW, message="allowed")
    toolkit = Toolkit(tools=[FunctionTool(lucky_number, permission=allowed)])
    return Agent(name="bench", system_prompt=PROMPT, model=MODEL, toolkit=toolkit)


CREDENTIAL = OpenAICredential(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])
MODEL = OpenAIChatModel(CREDENTIAL, "loopback-1", stream=False)


async def run() -> None:
    """Carry one run to its answer."""
    said = await agent().reply(Msg(name="user", role="user", content=[TextBlock(text=QUESTION)]))
    if "42" not in said.get_text_content():
        raise RuntimeError(f"the run came to {said!r}")


async def load(concurrency: int, seconds: float) -> dict[str, object]:
    """Keep so many runs going for so long and return what they took."""
    took: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()

    async def worker() -> None:
        while (start := time.perf_counter()) < began + seconds:
            await run()
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return {"took_s": took, "wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}


async def contend() -> None:
    """Take orders until standard input ends."""
    await run()
    print(json.dumps({"server": None}), flush=True)
    loop = asyncio.get_running_loop()
    while order := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await load(**json.loads(order))), flush=True)


if __name__ == "__main__":
    uvloop.run(contend())

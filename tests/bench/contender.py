"""One contender as a process: it takes orders on standard input, works them off, and answers with what it took.

An order is `{"concurrency": 16, "seconds": 2.0}`; its answer is one line of JSON with the latencies of all runs.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from openai import AsyncOpenAI, DefaultAioHttpClient

from natscope import client
from natscope.bus import BusSettings, connect
from natscope.bus.streams import provision
from natscope.cli import embedded
from natscope.cli.server import server
from natscope.contracts.errors import Internal
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.bench import tool

Run = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Ready:
    """What can be run now, and the nats-server that belongs to it alone, if there is one."""

    run: Run
    server: int | None = None


@asynccontextmanager
async def by_hand(transport: str) -> AsyncGenerator[Ready]:
    """Two chat completions and the tool between them, with the `openai` package alone.

    `transport` is `aiohttp`, which the package offers and the gateway uses, or empty: the package's usual one.
    """
    model = AsyncOpenAI(max_retries=0, http_client=DefaultAioHttpClient() if transport == "aiohttp" else None)
    spec = tool.TOOL.spec
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    tools: Any = [{"type": "function", "function": function}]

    async def run() -> None:
        messages: Any = [{"role": "system", "content": tool.PROMPT}, {"role": "user", "content": tool.QUESTION}]
        first = await model.chat.completions.create(model="loopback-1", messages=messages, tools=tools)
        said = first.choices[0].message
        messages.append(said.model_dump(exclude_none=True))
        for call in said.tool_calls or []:
            json.loads(call.function.arguments)  # pyright: ignore[reportAttributeAccessIssue]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": await tool.lucky_number()})
        last = await model.chat.completions.create(model="loopback-1", messages=messages, tools=tools)
        if not last.choices[0].message.content:
            raise Internal("the provider said nothing")

    async with model:
        yield Ready(run)


@asynccontextmanager
async def guest(nats: str) -> AsyncGenerator[Ready]:
    """Tasks submitted to the house at the address `nats`."""
    async with client.open(BusSettings(url=nats), name="bench") as house:
        await tool.until_served(house)

        async def run() -> None:
            outcome = await house.ask(tool.AGENT.name, tool.QUESTION, deadline_s=120)
            if outcome.state != "completed" or outcome.tool_calls != 1:
                raise Internal(f"the run came to {outcome.model_dump_json()}")

        yield Ready(run)


@asynccontextmanager
async def in_one_process(folder: str) -> AsyncGenerator[Ready]:
    """The house as `natscope up` opens it, its data in `folder`, with the tool and the client in the same process."""
    async with server(Path(folder), port=0) as running, embedded.services(running.url):
        await prepare(running.url)
        async with client.serve(tool.TOOL, settings=BusSettings(url=running.url)), guest(running.url) as ready:
            yield Ready(ready.run, running.process.pid)


async def prepare(nats: str) -> None:
    """Provision the streams and apply the agent."""
    silent = telemetry_for("bench", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    async with connect("bench", BusSettings(url=nats), silent) as bus:
        await provision(bus.js)
        await client.House(bus).apply(tool.AGENT)


KINDS = {"raw": by_hand, "guest": guest, "embedded": in_one_process}


async def load(run: Run, *, concurrency: int, seconds: float) -> dict[str, Any]:
    """Keep `concurrency` runs going for `seconds`, one at the least, and return what they took."""
    took: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    end = began + seconds

    async def worker() -> None:
        while (start := time.perf_counter()) < end or not took:
            await run()
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return {"took_s": took, "wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}


async def contend(kind: str, where: str) -> None:
    """Open the contender, say that it is ready, and take orders until standard input ends."""
    if kind == "prepare":
        await prepare(where)
        return
    loop = asyncio.get_running_loop()
    async with KINDS[kind](where) as ready:
        gc.collect()
        gc.freeze()
        print(json.dumps({"server": ready.server}), flush=True)
        while order := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await load(ready.run, **json.loads(order))), flush=True)


def main() -> None:
    """Be one contender."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.contender", description=main.__doc__)
    parser.add_argument("kind", choices=[*KINDS, "prepare"])
    parser.add_argument(
        "where", nargs="?", default="", help="the address of NATS; `embedded`: a folder; `raw`: a transport"
    )
    options = parser.parse_args()
    uvloop.run(contend(options.kind, options.where))


if __name__ == "__main__":
    main()

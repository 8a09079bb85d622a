"""One contender as a process: it takes orders on standard input, works them off, and answers with what it took.

An order is `{"work": "unary", "concurrency": 16, "seconds": 2.0}`; its answer is one line of JSON.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from aiohttp import ClientSession, TCPConnector
from nats.aio.msg import Msg
from openai import AsyncOpenAI

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.streams import provision
from natscope.contracts.blocks import plain
from natscope.contracts.errors import DeadlineExceeded, Internal, ServiceNotRunning
from natscope.contracts.message import Message
from natscope.contracts.model import CHAT, LIST, Chat, List
from natscope.telemetry import TelemetrySettings, telemetry_for

SYSTEM = "You are a helpful assistant. " * 10
QUESTION = "Tell me about the fox and the dog, please. " * 5
TURNS: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
Call = Callable[[str], Awaitable[float]]
"""Does one piece of work (`unary`, `stream`, `paced`) and returns when its first token came."""


@asynccontextmanager
async def by_hand(base_url: str) -> AsyncGenerator[Call]:
    """The `openai` package as it comes."""
    async with AsyncOpenAI(max_retries=0, base_url=base_url, api_key="any") as model:

        async def call(work: str) -> float:
            if work == "unary":
                said = await model.chat.completions.create(model=work, messages=TURNS)
                return _whole(said.choices[0].message.content)
            first, length = 0.0, 0
            options: Any = {"include_usage": True}
            stream = await model.chat.completions.create(
                model=work, messages=TURNS, stream=True, stream_options=options
            )
            async for chunk in stream:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    first = first or time.perf_counter()
                    length += len(text)
            return first if length else _whole(None)

        yield call


@asynccontextmanager
async def bare(base_url: str) -> AsyncGenerator[Call]:
    """The wire itself: `aiohttp`, and `json` for what has to be read."""
    async with ClientSession(connector=TCPConnector(limit=512)) as session:

        async def call(work: str) -> float:
            asked = {"model": work, "messages": TURNS, "stream": work != "unary"}
            async with session.post(f"{base_url}/chat/completions", json=asked) as response:
                if work == "unary":
                    return _whole(json.loads(await response.read())["choices"][0]["message"]["content"])
                first = 0.0
                async for line in response.content:
                    if line.startswith(b"data: {") and (choices := json.loads(line[6:])["choices"]):
                        first = first or (time.perf_counter() if choices[0]["delta"].get("content") else 0.0)
                return first

        yield call


@asynccontextmanager
async def gateway(nats: str) -> AsyncGenerator[Call]:
    """The gateway, asked over NATS by our own client."""
    silent = telemetry_for("bench", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    turns = [
        Message(name="bench", role="system", content=plain(SYSTEM)),
        Message(name="bench", role="user", content=plain(QUESTION)),
    ]
    async with connect("bench", BusSettings(url=nats), silent) as bus:
        await provision(bus.js)
        await _until_open(bus)
        heard: dict[str, float] = {}

        async def hear(message: Msg) -> None:
            heard.setdefault(message.subject, time.perf_counter())

        inbox = bus.nc.new_inbox()
        await bus.nc.subscribe(f"{inbox}.*", cb=hear)

        async def call(work: str) -> float:
            ask = Chat(model=work, messages=turns, tenant="bench", agent="bench")
            if work == "unary":
                return _whole((await bus.ask(CHAT, ask)).message.text)
            subject = f"{inbox}.{ask.request_id}"
            _whole((await bus.ask(CHAT, ask.model_copy(update={"deltas_to": subject}))).message.text)
            return heard.pop(subject)

        yield call


async def _until_open(bus: Bus) -> None:
    """Return once the gateway answers.

    Raises:
        ServiceNotRunning: it does not, for two minutes.
    """
    for _ in range(1200):
        try:
            await bus.ask(LIST, List())
        except (ServiceNotRunning, DeadlineExceeded):
            await asyncio.sleep(0.1)
        else:
            return
    await bus.ask(LIST, List())


KINDS = {"openai": by_hand, "bare": bare, "gateway": gateway}


def _whole(text: str | None) -> float:
    if not text:
        raise Internal("the provider said nothing")
    return time.perf_counter()


async def load(call: Call, *, work: str, concurrency: int, seconds: float) -> dict[str, Any]:
    """Keep `concurrency` calls going for `seconds`, at least one each, and return what they took."""
    took: list[float] = []
    firsts: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    end = began + seconds

    async def worker(place: int) -> None:
        if work == "paced":
            await asyncio.sleep(place / concurrency)
        while True:
            start = time.perf_counter()
            firsts.append(await call(work) - start)
            took.append(time.perf_counter() - start)
            if time.perf_counter() >= end:
                return

    await asyncio.gather(*(worker(place) for place in range(concurrency)))
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    return {"took_s": took, "first_s": firsts, "wall_s": wall, "cpu_s": used}


async def contend(kind: str, where: str) -> None:
    """Open the contender, say that it is ready, and take orders until standard input ends."""
    loop = asyncio.get_running_loop()
    async with KINDS[kind](where) as call:
        gc.collect()
        gc.freeze()
        print("{}", flush=True)
        while order := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await load(call, **json.loads(order))), flush=True)


def main() -> None:
    """Be one contender."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway.contender", description=main.__doc__)
    parser.add_argument("kind", choices=[*KINDS])
    parser.add_argument("where", help="the base URL of the provider, or the address of NATS")
    options = parser.parse_args()
    uvloop.run(contend(options.kind, options.where))


if __name__ == "__main__":
    main()

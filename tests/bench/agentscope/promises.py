"""What is promised of many runs at once: parked ones hold little, replicas add up, a slow session delays nobody."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median, quantiles

from natscope import client
from natscope.bus import BusSettings
from natscope.client import House, Ticket
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision, Rule
from natscope.contracts.event import ApprovalNeeded
from tests.bench import processes, tool
from tests.bench.processes import Rooms, memory_mb

PROVIDER_S = 0.05
NAP_S = 0.5
"""How long the slow session's tool takes."""
AT_ONCE = 32


async def nap() -> str:
    """Take a nap, then say so."""
    await asyncio.sleep(NAP_S)
    return "42"


SLOW = client.tool(nap)
SLEEPER = AgentSpec(name="sleeper", system_prompt=tool.PROMPT, tools=[SLOW.spec.name])
CAREFUL = tool.AGENT.model_copy(
    update={
        "name": "careful",
        "permissions": tool.AGENT.permissions.model_copy(
            update={"rules": [Rule(tool=tool.TOOL.spec.name, behaviour="ask")]}
        ),
    }
)


@contextmanager
def opened(folder: Path, *, provider_s: float = 0.0, **more: str) -> Generator[Rooms]:
    """A house, with `more` in its environment, and a provider that takes so long."""
    with processes.provider(provider_s) as known:
        known |= {"TOOL_EXECUTOR_PLATFORM": folder.parent.name, "MODEL_GATEWAY_MODELS": "deploy/models.yaml"} | more
        with processes.rooms(folder, known) as rooms:
            yield rooms


async def parked(rooms: Rooms, runs: int) -> str:
    """Return how much memory so many runs hold that wait for somebody's decision."""
    async with _guest(rooms) as house:
        await house.apply(CAREFUL)
        await _decided(await _waiting(house, max(1, runs // 5)))
        before = _weighed(rooms)
        began = time.perf_counter()
        found = await _waiting(house, runs)
        took_s, after = time.perf_counter() - began, _weighed(rooms)
        done = await _decided(found)
    grown = {name: after[name] - before[name] for name in after}
    services = sum(grown.values()) - grown["nats-server"]
    parts = ", ".join(f"{name} {grown[name]:+.1f}" for name in grown)
    return (
        f"{runs} parked runs hold {services:.1f} MB of the services ({parts} MB); parked in {took_s:.0f} s, "
        f"{done} of {runs} completed once they were approved"
    )


async def _waiting(house: House, runs: int) -> list[tuple[Ticket, str]]:
    """Submit runs and return each, with the call it waits with, when all of them wait."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def wait() -> tuple[Ticket, str]:
        async with gate:
            ticket = await house.submit(CAREFUL.name, tool.QUESTION)
            async for item in ticket.events():
                if isinstance(item.event, ApprovalNeeded):
                    return ticket, item.event.waiting[0].call_id
        raise RuntimeError("a run has ended instead of waiting")

    return await asyncio.gather(*(wait() for _ in range(runs)))


async def _decided(found: list[tuple[Ticket, str]]) -> int:
    """Approve all that wait and return how many have completed then."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def decide(ticket: Ticket, call: str) -> bool:
        async with gate:
            await ticket.decide(Decision(call_id=call, verdict="approve"))
            return (await ticket.result(120)).state == "completed"

    return sum(await asyncio.gather(*(decide(*each) for each in found)))


async def replicas(rooms: Rooms, *, slots: int, rounds: int, seconds: float) -> str:
    """Return how much more two agent services carry than one.

    Of `slots`, which they were given, there are so few that the services are full before the machine is.
    """
    one, two = list[float](), list[float]()
    async with _guest(rooms) as house:
        for _ in range(rounds):
            one.append(await _rate(house, slots, seconds))
            with rooms.replica():
                await _answering(house, 2)
                two.append(await _rate(house, slots, seconds))
            await _answering(house, 1)
    times = median(after / before for before, after in zip(one, two, strict=True))
    return (
        f"agent services with AGENT_SLOTS={slots}, provider {1000 * PROVIDER_S:.0f} ms: "
        f"1 carries {median(one):.1f} runs/s, 2 carry {median(two):.1f}: {times:.2f} ×"
    )


async def _rate(house: House, slots: int, seconds: float) -> float:
    took = await _flood(house, at_once=4 * slots, seconds=seconds)
    return len(took) / seconds


async def _answering(house: House, replicas: int) -> None:
    """Return when so many agent services answer, and have had a moment to begin to pull."""
    async with asyncio.timeout(120):
        while True:
            inbox = await house.bus.nc.subscribe(reply := house.bus.nc.new_inbox())
            await house.bus.nc.publish("$SRV.PING.agent", b"", reply=reply)
            await asyncio.sleep(0.5)
            found = inbox.pending_msgs
            await inbox.unsubscribe()
            if found == replicas:
                return


async def neighbours(rooms: Rooms, *, rounds: int, seconds: float) -> str:
    """Return what a session with a line of slow tasks does to the p99 of others."""
    alone, beside = list[float](), list[float]()
    async with _guest(rooms) as house, client.serve(SLOW, settings=BusSettings(url=rooms.url)):
        await house.apply(SLEEPER)
        for round in range(rounds):
            alone.append(_p99(await _flood(house, at_once=2, seconds=seconds)))
            line = [
                await house.submit(SLEEPER.name, tool.QUESTION, session=f"slow-{round}")
                for _ in range(int(seconds / NAP_S) + 2)
            ]
            beside.append(_p99(await _flood(house, at_once=2, seconds=seconds)))
            for ticket in line:
                await ticket.result(120)
    times = median(after / before for before, after in zip(alone, beside, strict=True))
    return (
        f"p99 of sessions beside one with a line of slow tasks: {1000 * median(beside):.0f} ms, "
        f"without it {1000 * median(alone):.0f} ms: {times:.2f} ×"
    )


async def _flood(house: House, *, at_once: int, seconds: float) -> list[float]:
    """Keep so many runs going, each in a session of its own; return the seconds of those that ended in time."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def worker() -> None:
        while (start := time.perf_counter()) < end:
            await house.ask(tool.AGENT.name, tool.QUESTION, deadline_s=120)
            if (now := time.perf_counter()) < end or not took:
                took.append(now - start)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return took


@asynccontextmanager
async def _guest(rooms: Rooms) -> AsyncGenerator[House]:
    """A guest of a house that has carried a run."""
    async with client.open(BusSettings(url=rooms.url), name="bench") as house:
        await _answering(house, 1)
        await tool.until_served(house)
        await _flood(house, at_once=4, seconds=1)
        yield house


def _weighed(rooms: Rooms) -> dict[str, float]:
    found = {name: memory_mb(process.pid) for name, process in rooms.processes.items()}
    return found | {"nats-server": memory_mb(rooms.server)}


def _p99(took: list[float]) -> float:
    return quantiles(took, n=100, method="inclusive")[98] if len(took) > 1 else took[0]

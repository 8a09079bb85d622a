"""kill -9 of the executor, workers, programs and containers, and loss of the engine: one answer each, nothing left."""

import asyncio
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import NatscopeError
from services.tool_executor.bubblewrap_cells import find_program
from tests.chaos.leftovers import cgroups, descriptors, resident_mib
from tests.chaos.lifecycle import GONE_S, REFILLED_S
from tests.chaos.sandbox_house import House, until
from tests.chaos.times import Times
from tests.chaos.wire import PROGRESS, Wire

KILLS = int(os.environ.get("NATSCOPE_KILLS", "14"))
SPARED = 0.3
"""The share of the kills, at the end, that spare the executor: what it loses then, it would lose for good."""
MODES: tuple[tool.CellMode, ...] = ("session", "one_shot")
SESSIONS: list[tuple[str, tool.CellMode]] = [(f"s{number}", MODES[number % 2]) for number in range(6)]
KINDS = {
    "docker": {"executor": 1, "worker": 4, "program": 4, "container": 4, "engine": 1},
    "bubblewrap": {"executor": 1, "worker": 4, "program": 4},
}
PATIENCE_S = 90
"""For what must come about, however busy the machine; how long it takes is told beside it."""
KEPT_ALIVE = 10
"""Connections to the engine that its client keeps for the next call, at most: a thread's each."""
CODE = """
import subprocess, time
print("be" + "gun", flush=True)
subprocess.Popen(["sleep", "{sleeper}"], start_new_session=True)
open("/tmp/left", "w").write("x")
time.sleep({seconds})
"""


async def call(house: House, id: str, session: str, cell: tool.CellMode, *, seconds: float) -> str:
    """Return the one state that a call came to, asking again under its id while nobody answers."""
    code = CODE.format(sleeper=house.sleeper, seconds=seconds)
    use = ToolUseBlock(id="c1", name="execute_python", input={"code": code})
    ask = tool.Call(call_id=id, call=use, session=session, cell=cell, deltas_to=f"{PROGRESS}.{id}")
    for _ in range(60):
        try:
            return (await house.bus.ask(tool.CALL, ask, "execute_python", deadline_s=15)).result.state
        except NatscopeError as error:
            if error.code not in ("deadline_exceeded", "service_unavailable", "unavailable", "service_not_running"):
                return error.code
            await asyncio.sleep(0.1)
    return "unanswered"


class Callers:
    """Sessions that call one program after the other, and ask for some of the outcomes again."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._over = asyncio.Event()
        self.states: Counter[str] = Counter()
        self.changed: list[str] = []

    async def call_on(self, session: str, cell: tool.CellMode) -> None:
        """Call until it is over."""
        number = 0
        while not self._over.is_set():
            id, number = f"{session}-{number}", number + 1
            seconds = random.choice((0.02, 0.1, 0.3))
            self.states[state := await call(self._house, id, session, cell, seconds=seconds)] += 1
            if state in ("success", "error", "unknown"):
                again = await call(self._house, id, session, cell, seconds=seconds)
                self.changed += [] if again == state else [f"{id}: {state}, then {again}"]
            else:
                await asyncio.sleep(0.1)

    def stop(self) -> None:
        """Let each finish the call that it waits for."""
        self._over.set()


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "bubblewrap"])
def image(request: pytest.FixtureRequest) -> str | None:
    """The image of the cells; None for bubblewrap, which needs none."""
    if request.param == "bubblewrap":
        if find_program() is None:
            pytest.skip("there is no bubblewrap")
        return None
    image: str = request.getfixturevalue("docker_image")
    return image


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A guest's line."""
    async with connect("guest", BusSettings(url=nats_url)) as connected:
        yield connected


@pytest.fixture
async def house(bus: Bus, nats_url: str, tmp_path: Path, image: str | None) -> AsyncIterator[House]:
    """An executor that runs, with a full pool."""
    async with House(bus, nats_url, tmp_path, image).open() as opened:
        await until(opened.full, seconds=PATIENCE_S)
        yield opened


async def at_rest(house: House) -> Counter[str]:
    """End all sessions; return the executor's open descriptors when nothing but its pool is left."""
    for session, _ in SESSIONS:
        await house.bus.tell(tool.ENDED, tool.Ended(session=session), session)
    await until(house.full, seconds=PATIENCE_S)
    await asyncio.sleep(0.3)
    return descriptors(house.pid)


async def kill_all(house: House, kills: Counter[str], times: Times) -> None:
    """Kill one thing after the other."""
    weights = KINDS["docker" if house.image else "bubblewrap"]
    for number in range(KILLS):
        spared = {"executor"} if number >= KILLS * (1 - SPARED) else set[str]()
        kinds = [kind for kind in weights if kind not in spared]
        kind = random.choices(kinds, [weights[kind] for kind in kinds])[0]
        await asyncio.sleep(random.uniform(0.05, 0.4))
        kills[kind] += 1
        began = time.monotonic()
        await house.kill(kind)
        if kind == "executor":
            times.took("restart of the executor", time.monotonic() - began)
            gone = await until(lambda: not house.orphans(), seconds=PATIENCE_S)
            times.took("until its orphans were gone", gone, promised=GONE_S)
        elif kind == "engine":
            refilled = await until(house.refilling(), seconds=PATIENCE_S)
            what = "until as many cells as the pool has were made after an engine's loss"
            times.took(what, refilled, promised=REFILLED_S)


class TestKillingTheSandbox:
    @pytest.mark.timeout(400 + 10 * KILLS)
    async def test_every_call_is_answered_once_and_nothing_is_left(self, house: House, nats_url: str) -> None:
        kills, times, callers = Counter[str](), Times(), Callers(house)
        await asyncio.gather(*(call(house, uuid.uuid4().hex, *session, seconds=0) for session in SESSIONS))
        before, memory = await at_rest(house), resident_mib(house.pid)
        async with Wire.tapped(nats_url) as wire:
            async with asyncio.TaskGroup() as calling:
                for session in SESSIONS:
                    calling.create_task(callers.call_on(*session))
                await kill_all(house, kills, times)
                callers.stop()
            served = [await call(house, f"after-{name}", name, cell, seconds=0) for name, cell in SESSIONS]
            after = await at_rest(house)
        print(f"\n  kills: {kills.total()}, {dict(kills.most_common())}\n{times}")
        print(f"  outcomes of calls: {dict(callers.states)}, in {wire.requests} requests")
        print(
            f"  descriptors: {sum(before.values())} before, {sum(after.values())} after: {dict(before)} {dict(after)}"
        )
        print(f"  memory: {memory:.0f} MiB before, {resident_mib(house.pid):.0f} MiB after")
        print(f"  errors logged: {dict(house.errors())}")
        assert set(served) == {"success"}
        assert [wire.unanswered, wire.answered_twice, wire.carried_out_twice, callers.changed] == [set(), [], [], []]
        assert "unanswered" not in callers.states
        assert {kind: count for kind, count in after.items() if count > before[kind]}.keys() <= {"socket"}
        assert after["socket"] <= before["socket"] + (KEPT_ALIVE if house.image else 0)
        assert house.volumes() == []
        await house.stop()
        await self._nothing_left(house)

    async def _nothing_left(self, house: House) -> None:
        await until(lambda: house.made <= house.removed, seconds=PATIENCE_S)
        print(f"  containers: {len(house.made)} made, {len(house.removed)} removed")
        assert house.cells() == []
        assert house.processes() == []
        assert cgroups(house.made) == []
        assert list(house.scratch.rglob("*")) == []

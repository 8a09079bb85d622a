"""The storm: the house, its client, and kill -9 of one part after the other until every run has its outcome."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors

from tests.chaos import facts, story
from tests.chaos.customer import Notes
from tests.chaos.facts import Facts
from tests.chaos.house import ACK_WAIT_S, CUSTOMER, SERVER, SERVICES, House, opened
from tests.loopback.provider import Provider, Request
from tests.loopback.replies import Reply

START_S = 120.0
"""How long the house may take until the client hears something; only then is anything killed."""
BLINDLY = 0.1
"""The share of kills that take whoever is next, though it is only being started."""
DEAD_S = (0.0, 1.0)
"""How long a part stays dead."""


@dataclass(frozen=True)
class Plan:
    """How many runs, and how hard the storm is."""

    runs: int
    at_once: int = 12
    backend: str = "bubblewrap"
    seed: int = 0
    every_s: tuple[float, float] = (0.5, 3.0)
    ack_wait_s: float = ACK_WAIT_S
    kills: int | None = None
    """At most so many; None: until every run has its outcome."""
    quiet_s: float = 240.0
    """How long runs may take in which nothing is killed any more, before they count as stuck."""
    storm_s: float | None = None
    """How long it lasts at most; None: as long as the runs could need."""


class Till:
    """Notes when the provider was asked for which model call, and answers by the story."""

    def __init__(self, seed: int) -> None:
        self.asked: dict[str, list[float]] = defaultdict(list)
        self._random = random.Random(seed)

    def answer(self, request: Request) -> Reply:
        """Return the reply, after a while."""
        agent, number, step = story.step_of(request)
        self.asked[f"{agent}-{number}/{step}"].append(time.monotonic())
        reply = story.reply_to(request)
        return Reply(text=reply.text, calls=reply.calls, delay_s=self._random.uniform(0.02, 0.5))


async def storm(plan: Plan, folder: Path) -> tuple[Facts, list[str]]:
    """Return what happened, and what is left on the machine."""
    till = Till(plan.seed)
    async with (
        Provider(till.answer) as provider,
        opened(
            folder,
            provider=provider.url,
            backend=plan.backend,
            runs=plan.runs,
            at_once=plan.at_once,
            ack_wait_s=plan.ack_wait_s,
        ) as house,
    ):
        await _until(lambda: all(house.works(name) for name in SERVICES), house, START_S)
        house.parts[CUSTOMER].start()
        await _until(house.begun, house, START_S)
        await _kill_on(house, plan)
        await _until(house.tend, house, plan.quiet_s)
        found = await _gathered(house, till, plan)
    return found, [*map(str, house.cells()), *_containers(house.platform)]


async def _kill_on(house: House, plan: Plan) -> None:
    """Kill one after the other: mostly what works, so that whoever is started on a slow machine gets to work at all."""
    chance = random.Random(plan.seed)
    end = time.monotonic() + (plan.storm_s or 60.0 + 4.0 * plan.runs)
    names: list[str] = []
    while not await _until(house.tend, house, chance.uniform(*plan.every_s)) and time.monotonic() < end:
        if plan.kills is not None and len(house.kills) >= plan.kills:
            return
        names = names or chance.sample(everybody := [SERVER, *house.parts], len(everybody))
        blindly = chance.random() < BLINDLY
        name = next((name for name in names if blindly or house.works(name)), None)
        if name is not None:
            names.remove(name)
            await house.kill(name, dead_s=chance.uniform(*DEAD_S))


async def _until(true: Callable[[], bool], house: House, seconds: float) -> bool:
    """Return when something is true, or after so many seconds; whether it is."""
    end = time.monotonic() + seconds
    while not (found := true()) and (left := end - time.monotonic()) > 0:
        house.tend()
        await asyncio.sleep(min(left, 0.2))
    return found


async def _gathered(house: House, till: Till, plan: Plan) -> Facts:
    async with house.admin() as bus:
        notes = Notes(house.folder / "notes")
        return Facts(
            runs=plan.runs,
            outcomes=await facts.outcomes_of(bus),
            journals=await facts.journals_of(bus),
            events=await facts.events_of(bus),
            heard=notes.heard,
            asked=till.asked,
            kills=house.kills,
            counted=house.counted if plan.backend == "bubblewrap" else None,
            booked=house.booked(),
            deliveries=await facts.deliveries_of(bus),
        )


def _containers(platform: str) -> list[str]:
    """Return the containers of this house that are still there."""
    try:
        engine = docker.from_env(timeout=20)
    except docker.errors.DockerException:
        return []
    with closing(engine):
        label = f"natscope.platform={platform}"
        found = engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        return [f"container {each.name}" for each in found]

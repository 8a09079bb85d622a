"""How a room carries calls side by side, and how it closes with some of them in flight."""

import asyncio
from collections.abc import Awaitable, Callable

from natscope.bus import Bus, BusSettings, Doors, connect, open_room
from natscope.contracts import memory
from natscope.contracts.errors import ServiceNotRunning


class Counter:
    """A door that takes its time and counts how many calls it carries at once."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.now = self.most = self.ended = 0

    def doors(self, bus: Bus, *, workers: int, takes_s: float) -> Doors:
        doors = Doors(bus)

        @doors.answers(memory.CLEAR, workers=workers)
        async def clear(body: memory.Clear) -> memory.Cleared:
            self.now += 1
            self.most = max(self.most, self.now)
            self.begun.set()
            await asyncio.sleep(takes_s)
            self.now -= 1
            self.ended += 1
            return memory.Cleared(removed=self.ended)

        return doors


class TestARoom:
    async def test_carries_as_many_calls_at_once_as_it_has_workers(self, nats_url: str) -> None:
        settings, counter = BusSettings(url=nats_url), Counter()
        async with open_room("memory", settings=settings) as room, connect("guest", settings) as bus:
            await room.serve(counter.doors(room.bus, workers=3, takes_s=0.02))
            await asyncio.gather(*(bus.ask(memory.CLEAR, memory.Clear(session="s")) for _ in range(12)))
        assert (counter.most, counter.ended) == (3, 12)

    async def test_answers_what_is_in_flight_before_it_closes(self, nats_url: str) -> None:
        settings, counter = BusSettings(url=nats_url), Counter()
        async with connect("guest", settings) as bus:
            async with open_room("memory", settings=settings) as room:
                await room.serve(counter.doors(room.bus, workers=2, takes_s=0.3))
                asks = [asyncio.create_task(bus.ask(memory.CLEAR, memory.Clear(session="s"))) for _ in range(3)]
                await counter.begun.wait()
            answers = await asyncio.gather(*asks)
        assert sorted(answer.removed for answer in answers) == [1, 2, 3]

    async def test_leaves_nobody_without_an_answer_when_it_closes(self, nats_url: str) -> None:
        settings, counter = BusSettings(url=nats_url), Counter()
        closed = asyncio.Event()
        told: list[type[object]] = []

        async def insist(bus: Bus) -> None:
            while not closed.is_set():
                try:
                    told.append(type(await bus.ask(memory.CLEAR, memory.Clear(session="s"), deadline_s=20)))
                except ServiceNotRunning as error:
                    told.append(type(error))
                    await asyncio.sleep(0.01)

        async with connect("guest", settings) as bus:
            async with open_room("memory", settings=settings) as room:
                await room.serve(counter.doors(room.bus, workers=8, takes_s=0.01))
                asking = [asyncio.create_task(insist(bus)) for _ in range(16)]
                await counter.begun.wait()
            closed.set()
            await asyncio.gather(*asking)
        assert memory.Cleared in told
        assert set(told) <= {memory.Cleared, ServiceNotRunning}

    async def test_is_alive_to_others_until_its_calls_have_ended(self, nats_url: str) -> None:
        settings, counter = BusSettings(url=nats_url), Counter()
        async with open_room("agent", settings=settings) as other, connect("guest", settings) as bus:
            async with open_room("memory", settings=settings) as room:
                await room.serve(counter.doors(room.bus, workers=1, takes_s=0.5))
                ask = asyncio.create_task(bus.ask(memory.CLEAR, memory.Clear(session="s")))
                await counter.begun.wait()
                alive = asyncio.create_task(_alive_until(ask, other.instance.lives, room.instance.id))
            assert await alive
            assert not await other.instance.lives(room.instance.id)


async def _alive_until(done: "asyncio.Task[memory.Cleared]", lives: Callable[[str], Awaitable[bool]], id: str) -> bool:
    while not done.done():
        if not await lives(id) and not done.done():
            return False
        await asyncio.sleep(0.02)
    return True

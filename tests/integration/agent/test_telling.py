"""Events: each is in its stream once, however late somebody goes on with a run, and none is left out."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from nats.aio.msg import Msg

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.envelope import Envelope, Headers
from natscope.client import Ticket, looking
from natscope.contracts import model
from natscope.contracts.contract import new_id
from natscope.contracts.event import HAPPENED, Custom, ReplyEnd
from natscope.contracts.model import Usage
from natscope.contracts.run import JOURNALED, Resumed
from services.agent.app import app
from services.agent.journal import Journal
from services.agent.settings import Settings
from services.agent.telling import Teller
from tests.integration.agent.house import House, adds_then_answers, house
from tests.integration.agent.test_waiting import QUESTION, answers, decide, says_then, waiting

WINDOW_S = 0.1
"""The shortest time for which a server knows ids."""
QUICK = Settings(beat=timedelta(seconds=0.2))


async def forgets_soon(bus: Bus, **more: object) -> None:
    """Have the server forget the events' ids at once, as it does after two minutes."""
    config = (await bus.js.stream_info("EVENTS")).config
    await bus.js.update_stream(config.evolve(duplicate_window=WINDOW_S, **more))


async def forgotten(bus: Bus) -> None:
    """Return when the server has forgotten all ids that it has seen so far."""
    headers = {"Nats-Msg-Id": new_id()}
    await bus.js.publish(HAPPENED.at("probe"), headers=headers)
    async with asyncio.timeout(30):
        while (await bus.js.publish(HAPPENED.at("probe"), headers=headers)).duplicate:  # noqa: ASYNC110 - it is asked by trying
            await asyncio.sleep(0.02)


@asynccontextmanager
async def forgetful(url: str, **more: object) -> AsyncGenerator[Bus]:
    async with connect("agent", BusSettings(url=url)) as bus:
        await forgets_soon(bus, **more)
        yield bus


async def kept(bus: Bus, task_id: str) -> list[Msg]:
    return await looking.page(bus, "EVENTS", HAPPENED.at(task_id))


async def ids(bus: Bus, task_id: str) -> list[str]:
    """Return the ids of a task's events, as often as they are kept."""
    return [json.loads(message.data)["id"] for message in await kept(bus, task_id)]


async def all_ids(here: House, task_id: str) -> list[str]:
    """Return the same once its last event is there: that may be a moment after its outcome."""
    async with asyncio.timeout(30):
        _ = [heard async for heard in Ticket(here.bus, task_id).events()]
    return await ids(here.bus, task_id)


def told(id: str) -> Custom:
    return Custom(id=id, task_id="t", name="told")


class Gate:
    """A model that waits before it answers for the second time, so that the agent may be stopped there."""

    def __init__(self, here: House) -> None:
        self._here = here
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        here.mind = self.mind

    async def mind(self, asked: model.Chat) -> model.Chatted:
        if len(self._here.asked) > 1:
            self.reached.set()
            await self.open.wait()
        return await adds_then_answers(asked)


class SlowEnvelope(Envelope):
    """One that packs as slowly as where an event is so large that it is stored as a blob."""

    def __init__(self, *where: Any) -> None:
        super().__init__(*where)
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def pack(self, body: Any, headers: Headers) -> bytes:
        self.reached.set()
        await self.open.wait()
        return await super().pack(body, headers)


WHOLE = [
    "start.0", "1.start", "1.0.end", "1.end", "1.0.result", "2.start", "start.1", "2.0.end", "2.end", "reply_end",
]  # fmt: skip


class TestARunThatIsTakenOverLate:
    async def test_tells_nothing_twice(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            await forgets_soon(here.bus)
            gate = Gate(here)
            async with app(QUICK, bus=here.settings):
                task = await here.submit("2+2?")
                await here.reaches(gate.reached, task.task_id)
            await forgotten(here.bus)
            gate.open.set()
            async with app(QUICK, bus=here.settings):
                assert await all_ids(here, task.task_id) == WHOLE

    async def test_tells_what_whoever_held_it_has_written_and_had_not_told(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            await forgets_soon(here.bus)
            gate = Gate(here)
            async with app(QUICK, bus=here.settings):
                task = await here.submit("2+2?")
                await here.reaches(gate.reached, task.task_id)
            async with asyncio.timeout(30):
                while WHOLE[5] not in await ids(here.bus, task.task_id):  # noqa: ASYNC110 - kept a moment after
                    await asyncio.sleep(0.02)
            for message in (await kept(here.bus, task.task_id))[2:]:
                await here.bus.js.delete_msg("EVENTS", looking.sequence_of(message))
            await forgotten(here.bus)
            gate.open.set()
            async with app(QUICK, bus=here.settings):
                found = await all_ids(here, task.task_id)
        assert sorted(found) == sorted(WHOLE)
        assert found[:5] == WHOLE[:5]

    async def test_that_waited_for_somebody_tells_nothing_twice(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            here.external, here.mind = True, says_then(QUESTION)
            await forgets_soon(here.bus)
            async with app(QUICK, bus=here.settings):
                task = await here.submit("2+2?")
                (wait,) = await waiting(here, task)
            await forgotten(here.bus)
            async with app(QUICK, bus=here.settings):
                await decide(here, task, *answers([wait], "4"))
                found = await all_ids(here, task.task_id)
        assert found == [*WHOLE[:4], "1.0.0.waiting", "1.0.result", "2.start", *WHOLE[-3:]]


class TestATeller:
    async def test_publishes_what_was_not_acknowledged_again_unless_it_is_kept(self, nats_url: str) -> None:
        async with forgetful(nats_url, no_ack=True) as bus:
            teller = Teller(bus, "t", flush_s=0.5)
            await teller.tell(told("a"))
            await teller.tell(told("b"))
            await teller.flush()
            assert await ids(bus, "t") == ["a", "b"]

    async def test_that_was_silent_tells_nothing_more_of_a_run_that_another_has_taken_over(self, nats_url: str) -> None:
        async with forgetful(nats_url) as bus:
            journal = Journal(bus, "t")
            await journal.append(Resumed(holder="one"))
            teller = Teller(bus, "t", silent_s=0)
            teller.holds = journal.is_ours
            await teller.tell(told("a"))
            other = Journal(bus, "t")
            await other.read()
            await other.append(Resumed(holder="another"))
            await teller.tell(told("b"))
            await teller.flush()
            assert await ids(bus, "t") == ["a"]

    @pytest.mark.parametrize("lost", [True, False])
    async def test_that_was_held_up_by_a_large_event_asks_whose_the_run_is_once_it_is_packed(
        self, nats_url: str, *, lost: bool
    ) -> None:
        async with forgetful(nats_url) as bus:
            journal = Journal(bus, "t")
            await journal.append(Resumed(holder="one"))
            teller = Teller(bus, "t", silent_s=0)
            teller.holds = journal.is_ours
            bus.envelope = slow = SlowEnvelope(bus.js, bus.blobs)
            telling = asyncio.create_task(teller.tell(told("a")))
            await slow.reached.wait()
            if lost:
                await bus.js.publish(JOURNALED.at("t"), b"{}")
            slow.open.set()
            await telling
            await teller.flush()
            assert await ids(bus, "t") == ([] if lost else ["a"])

    async def test_that_speaks_goes_on_without_asking(self, nats_url: str) -> None:
        async with forgetful(nats_url) as bus:
            asked = list[str]()

            async def holds() -> bool:
                asked.append(JOURNALED.at("t"))
                return False

            teller = Teller(bus, "t")
            teller.holds = holds
            await teller.tell(told("a"))
            await teller.flush()
            assert (asked, await ids(bus, "t")) == ([], ["a"])


class TestAClient:
    async def test_is_given_once_what_is_twice_in_the_stream(self, nats_url: str) -> None:
        async with forgetful(nats_url) as bus:
            end = ReplyEnd(id="reply_end", task_id="t", state="completed", usage=Usage())
            for each in (told("a"), told("b")):
                await bus.record(HAPPENED, each, "t", message_id=f"t:{each.id}")
            await forgotten(bus)
            for each in (told("a"), end):
                await bus.record(HAPPENED, each, "t", message_id=f"t:{each.id}")
            given = [heard.event.id async for heard in Ticket(bus, "t").events()]
            assert (await ids(bus, "t"), given) == (["a", "b", "a", "reply_end"], ["a", "b", "reply_end"])

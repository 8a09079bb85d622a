"""Schedules: each time is one task, however many replicas there are, and whatever dies in between."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from natscope import client
from natscope.bus import Bus
from natscope.bus.streams import SCHEDULES
from natscope.client import House as Guest
from natscope.contracts.contract import now
from natscope.contracts.errors import AgentNotFound, ScheduleConflict, ScheduleInvalid, ScheduleNotFound
from natscope.contracts.schedule import Kept, Schedule
from natscope.contracts.task import SUBMIT_IN
from services.agent.app import app
from services.agent.registry import Agents
from services.agent.scheduling.clock import Clock
from services.agent.scheduling.schedules import Entry, Schedules
from services.agent.settings import Settings
from tests.integration.agent.house import House, house

SECOND = timedelta(seconds=1)


@asynccontextmanager
async def scheduling(url: str, agents: int = 1) -> AsyncGenerator[tuple[House, Guest]]:
    """Open a house and a guest's connection to it."""
    async with house(url, agents=agents) as here, client.open(here.settings) as guest:
        yield here, guest


def old(missed: str, *, every_s: float = 600) -> Kept:
    """Return a schedule whose times of the last hour nobody saw."""
    schedule = Schedule.model_validate(
        {"name": "old", "agent": "assistant", "content": "Go.", "every": every_s, "missed": missed}
    )
    made = now().replace(microsecond=0) - timedelta(hours=1, minutes=5)
    return Kept(schedule=schedule, made_at=made, next_at=made + timedelta(seconds=every_s))


async def keep(here: House, kept: Kept) -> None:
    """Put a schedule into the bucket as it is."""
    await here.bus.js.publish(f"$KV.{SCHEDULES}.{kept.schedule.name}", kept.model_dump_json().encode())


async def changed(guest: Guest, was: Kept) -> Kept:
    """Return the schedule once it has another next time."""
    async with asyncio.timeout(20):
        while True:
            (found,) = await guest.schedules.list()
            if found.next_at != was.next_at:
                return found
            await asyncio.sleep(0.02)


class Belated(Schedules):
    """A bucket in which what was written is not there yet when it is first looked for."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, Agents(bus))
        self.is_late, self.looked_for = False, asyncio.Event()

    async def all(self) -> list[Entry]:
        if self.is_late:
            self.is_late = False
            return []
        found = await super().all()
        self.looked_for.set()
        return found


class TestAClock:
    async def test_misses_no_schedule_that_it_hears_of_before_it_is_kept(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            schedules = Belated(here.bus)
            clock = Clock(here.bus, schedules)
            await clock.start()
            await schedules.looked_for.wait()
            tasks = await here.bus.nc.subscribe(SUBMIT_IN.wildcard)
            schedules.is_late = True
            await keep(here, old("once"))
            message = await tasks.next_msg(timeout=20)
            await clock.stop()
        assert b'"name":"schedule"' in message.data


class TestASchedule:
    async def test_submits_each_of_its_times_once_for_all_replicas(self, nats_url: str) -> None:
        async with scheduling(nats_url, agents=3) as (here, guest):
            kept = await guest.schedules.add("tick", "assistant", "What is 2+2?", every=SECOND)
            times = [kept.made_at + SECOND * n for n in (1, 2)]
            tasks = [f"tick-{time:%Y%m%dT%H%M%SZ}" for time in times]
            outcomes = [await here.outcome(task) for task in tasks]
            await guest.schedules.remove("tick")
        assert [outcome.text for outcome in outcomes] == ["It is 4.", "It is 4."]
        called = [call.task for call in here.called]
        assert [called.count(task) for task in tasks] == [1, 1]

    async def test_names_itself_and_its_time_to_the_task(self, nats_url: str) -> None:
        async with scheduling(nats_url) as (here, guest):
            at = now().replace(microsecond=0) + 3 * SECOND
            await guest.schedules.add("once", "assistant", "What is 2+2?", at=at, session="s")
            outcome = await here.outcome(f"once-{at:%Y%m%dT%H%M%SZ}")
        asked = here.asked[0].messages[-1]
        assert (outcome.session, asked.name) == ("s", "schedule")
        assert asked.metadata == {"schedule": "once", "at": at.isoformat()}
        assert outcome.started_at >= at

    async def test_that_comes_once_is_over_then(self, nats_url: str) -> None:
        async with scheduling(nats_url) as (here, guest):
            at = now() + 2 * SECOND
            kept = await guest.schedules.add("once", "assistant", "What is 2+2?", at=at)
            found = await changed(guest, kept)
            assert found.last_task is not None
            await here.outcome(found.last_task)
        assert (found.next_at, found.last_at) == (None, at)

    async def test_goes_on_when_every_process_was_restarted(self, nats_url: str) -> None:
        async with scheduling(nats_url, agents=0) as (here, guest):
            async with app(Settings(), bus=here.settings):
                at = now().replace(microsecond=0) + 3 * SECOND
                await guest.schedules.add("once", "assistant", "What is 2+2?", at=at)
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(f"once-{at:%Y%m%dT%H%M%SZ}")
        assert outcome.state == "completed"

    @pytest.mark.parametrize("missed", ["skip", "once"])
    async def test_that_nobody_saw_for_long_submits_the_last_time_or_none(self, nats_url: str, missed: str) -> None:
        async with scheduling(nats_url, agents=0) as (here, guest):
            was = old(missed)
            await keep(here, was)
            async with app(Settings(), bus=here.settings), app(Settings(), bus=here.settings):
                found = await changed(guest, was)
                last = was.made_at + timedelta(hours=1)
                task = f"old-{last:%Y%m%dT%H%M%SZ}"
                if missed == "once":
                    await here.outcome(task)
        assert found.next_at == last + timedelta(minutes=10)
        assert (found.last_at, found.last_task) == ((last, task) if missed == "once" else (None, None))
        assert len(here.called) == (missed == "once")

    async def test_whose_time_was_submitted_but_not_written_down_does_nothing_twice(self, nats_url: str) -> None:
        async with scheduling(nats_url, agents=0) as (here, guest):
            was = old("once")
            await keep(here, was)
            async with app(Settings(), bus=here.settings):
                done = await changed(guest, was)
                assert done.last_task is not None
                await here.outcome(done.last_task)
            await keep(here, was)
            async with app(Settings(), bus=here.settings):
                again = await changed(guest, was)
                last = await guest.ask("assistant", "And now?")
        assert (again.last_task, again.next_at) == (done.last_task, done.next_at)
        assert [call.task for call in here.called] == [done.last_task, last.task_id]

    async def test_that_is_paused_submits_nothing_and_missed_nothing_when_it_goes_on(self, nats_url: str) -> None:
        async with scheduling(nats_url, agents=0) as (here, guest):
            was = old("once").model_copy(update={"paused": True})
            await keep(here, was)
            async with app(Settings(), bus=here.settings):
                (still,) = await guest.schedules.list()
                resumed = await guest.schedules.resume("old")
                again = await guest.schedules.pause("old")
        assert (still, resumed.paused, again.paused) == (was, False, True)
        assert resumed.next_at == was.made_at + timedelta(minutes=70)
        assert here.asked == []

    async def test_made_again_is_the_same_and_another_of_its_name_is_refused(self, nats_url: str) -> None:
        async with scheduling(nats_url) as (_, guest):
            made = await guest.schedules.add("daily", "assistant", "Go.", cron="@daily", zone="Europe/Berlin")
            assert await guest.schedules.add("daily", "assistant", "Go.", cron="@daily", zone="Europe/Berlin") == made
            with pytest.raises(ScheduleConflict):
                await guest.schedules.add("daily", "assistant", "Go.", cron="@hourly")
            assert await guest.schedules.list() == [made]

    async def test_that_was_removed_can_be_made_anew(self, nats_url: str) -> None:
        async with scheduling(nats_url) as (_, guest):
            await guest.schedules.add("daily", "assistant", "Go.", cron="@daily")
            await guest.schedules.remove("daily")
            assert await guest.schedules.list() == []
            with pytest.raises(ScheduleNotFound):
                await guest.schedules.pause("daily")
            made = await guest.schedules.add("daily", "assistant", "Go.", cron="@hourly")
            assert [each.schedule.cron for each in await guest.schedules.list()] == [made.schedule.cron]

    async def test_that_is_wrong_is_refused_and_not_made(self, nats_url: str) -> None:
        past, far = datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
        wrong = [{"at": past}, {"cron": "0 0 30 2 *"}, {"cron": "often"}, {"cron": "@daily", "zone": "Moon"}]
        wrong += [
            {},
            {"cron": "@daily", "at": far},
            {"every": timedelta(seconds=0.5)},
            {"every": timedelta(days=4_000_000)},
        ]
        async with scheduling(nats_url) as (_, guest):
            for when in wrong:
                with pytest.raises(ScheduleInvalid):
                    await guest.schedules.add("s", "assistant", "Go.", **when)  # pyright: ignore[reportArgumentType]
            with pytest.raises(ScheduleInvalid):
                await guest.schedules.add("no name", "assistant", "Go.", cron="@daily")
            with pytest.raises(ScheduleInvalid, match="asks nothing"):
                await guest.schedules.add("s", "assistant", " ", cron="@daily")
            with pytest.raises(AgentNotFound):
                await guest.schedules.add("s", "nobody", "Go.", cron="@daily")
            assert await guest.schedules.list() == []

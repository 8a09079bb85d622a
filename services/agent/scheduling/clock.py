"""The clock: submits the tasks of schedules whose time has come, once however many replicas do."""

import asyncio
import logging
import random
from contextlib import suppress

from nats.aio.msg import Msg

from natscope.bus import Bus
from natscope.contracts.contract import now
from natscope.contracts.errors import NatscopeError, ScheduleNotFound
from natscope.contracts.schedule import Kept
from natscope.contracts.task import SUBMIT_IN, Submit
from natscope.telemetry import names
from services.agent.scheduling.schedules import PREFIX, Schedules
from services.agent.scheduling.times import due_time, next_time

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""How often all schedules are read again: a change that was made while we reconnect is not heard."""
RETRY_S = 1.0
AGAIN_S = 1.0
"""A change is heard a moment before the bucket has it; so soon after it is looked once more."""
APART_S = 0.1
"""Replicas look at a time that has come up to so long after it, so that most find it done."""


class Clock:
    """One replica's clock. A task's id is the schedule's name and time; it is submitted before that is written down."""

    def __init__(self, bus: Bus, schedules: Schedules) -> None:
        self._bus = bus
        self._schedules = schedules
        self._changed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._open = True

    async def start(self) -> None:
        """Begin to look after the schedules."""
        await self._bus.nc.subscribe(f"{PREFIX}*", cb=self._hear)
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look after them no more."""
        self._open = False
        self._changed.set()
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _hear(self, _: Msg) -> None:
        self._changed.set()

    async def _run(self) -> None:
        while self._open:
            heard = self._changed.is_set()
            self._changed.clear()
            try:
                pause_s = await self._tick()
                pause_s = min(pause_s, AGAIN_S) if heard else pause_s
            except NatscopeError as error:
                log.warning("the schedules are looked at again", extra={"reason": error.message})
                pause_s = RETRY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _tick(self) -> float:
        """Submit what is due, and return how many seconds nothing will be."""
        pause_s, due = LOOK_S, list[str]()
        for entry in await self._schedules.all():
            if entry.kept.next_at is None or entry.kept.paused:
                continue
            left_s = (entry.kept.next_at - now()).total_seconds()
            if left_s <= 0:
                due.append(entry.kept.schedule.name)
            pause_s = min(pause_s, max(0.0, left_s))
        for name in due:
            try:
                await self._fire(name)
            except NatscopeError as error:
                log.warning("a schedule's task is not submitted yet", extra={"schedule": name, "reason": error.message})
                pause_s = RETRY_S
        return pause_s + random.uniform(0, APART_S)  # noqa: S311 - keeps replicas apart, no secret

    async def _fire(self, name: str) -> None:
        try:
            found = await self._schedules.get(name)
        except ScheduleNotFound:
            return
        kept, moment = found.kept, now()
        if kept.paused or kept.next_at is None or kept.next_at > moment:
            return
        due = due_time(kept, moment)
        following = next_time(kept, moment)
        changed = kept.model_copy(update={"next_at": following})
        if due is None:
            log.warning("a schedule's time was missed and is left", extra={"schedule": name})
        else:
            task = _task(kept, f"{name}-{due:%Y%m%dT%H%M%SZ}", due.isoformat())
            await self._submit(kept, task)
            changed = changed.model_copy(update={"last_at": due, "last_task": task.task_id})
        await self._schedules.write(changed, found.revision)

    async def _submit(self, kept: Kept, task: Submit) -> None:
        agent = kept.schedule.agent
        attributes = {names.TASK_ID: task.task_id, names.AGENT: agent}
        with self._bus.telemetry.span("fire_schedule", attributes=attributes):
            await self._bus.submit(SUBMIT_IN, task, agent, task.lane, message_id=task.task_id)
        log.info("a schedule has submitted its task", extra={"task": task.task_id})


def _task(kept: Kept, id: str, at: str) -> Submit:
    schedule = kept.schedule
    return Submit(
        task_id=id,
        content=schedule.content,
        session=schedule.session,
        tenant=schedule.tenant,
        name="schedule",
        metadata={"schedule": schedule.name, "at": at},
    )

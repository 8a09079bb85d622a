"""Working: pulling tasks into free slots, keeping them alive, standing in line, and handing over at the end."""

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from nats import errors as nats_errors
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind

from natscope.bus import Bus
from natscope.bus.settling import settle
from natscope.bus.streams import FRONT, LATER, RUNS
from natscope.contracts.errors import NatscopeError, Refused, RunFenced, RunPoisoned, Unavailable
from natscope.contracts.run import Parked
from natscope.contracts.task import DEFER, SUBMIT, SUBMIT_IN
from natscope.telemetry import names
from natscope.telemetry.propagation import extract
from services.agent.deferring import Deferred
from services.agent.hearing import STORED_S
from services.agent.held import Held, Place, place_of
from services.agent.intake import Task, id_of, take
from services.agent.lining import Line
from services.agent.pulling import Puller, attributes_of
from services.agent.running import Runner
from services.agent.settings import Settings
from services.agent.unbegun import bury, take_back

log = logging.getLogger(__name__)

RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
LOOK_BEATS = 10
"""How many beats lie between two looks at what was said about parked tasks."""


@dataclass
class _ParkedTask:
    """A task whose run waits for somebody: kept from other replicas, without a slot."""

    task: Task
    message: Msg
    parked: Parked
    alarm: asyncio.TimerHandle | None = None


@dataclass
class Worker:
    """This replica's share of the work."""

    bus: Bus
    runner: Runner
    deferred: Deferred
    line: Line
    settings: Settings
    _in_hand: dict[str, Msg] = field(default_factory=dict[str, Msg])
    _held: Held = field(default_factory=Held)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _pullers: list[Puller] = field(default_factory=list[Puller])
    _parked: dict[str, _ParkedTask] = field(default_factory=dict[str, _ParkedTask])
    _asked: dict[str, str] = field(default_factory=dict[str, str])
    """The parked task that waits for another agent's, by that one's id."""
    _broke: Counter[Place] = field(default_factory=Counter[Place])
    """How often a task broke this worker, by its stream and place: that it was delivered again does not tell."""
    _open: bool = True

    async def start(self) -> None:
        """Begin to pull."""
        self._own(self._beat())
        for stream, consumer, handle, hands in (
            (SUBMIT.stream, FRONT, self._admit, 1),
            (SUBMIT_IN.stream, RUNS, self._work, self.settings.slots),
            (DEFER.stream, LATER, self._look, 4),
        ):
            puller = Puller(self.bus, stream, consumer)
            await puller.start()
            self._pullers.append(puller)
            for _ in range(hands):
                self._own(self._pull(puller, handle))

    async def stop(self) -> None:
        """Hand every task in hand over to the other replicas, at once."""
        self._open = False
        self._parked.clear()
        left = [message for puller in self._pullers for message in await puller.stop()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for message in (*self._in_hand.values(), *left):
            await message.nak()
        await settle(self.bus.nc)
        self._in_hand.clear()

    async def _pull(self, puller: Puller, handle: Callable[[Msg], Awaitable[None]]) -> None:
        while self._open:
            try:
                message = await puller.next()
            except NatscopeError as error:
                log.warning("pulling is tried again", extra={"reason": error.message})
                await asyncio.sleep(RETRY_S)
                continue
            if message is not None:
                await self._guarded(handle(message), message)

    async def _guarded(self, work: Awaitable[None], message: Msg) -> None:
        """Carry on with the next task whatever this one brings; it is delivered again, and buried if it goes on so."""
        try:
            await work
        except Exception as error:
            log.exception("a task broke its worker", extra={"subject": message.subject})
            self._broke[place_of(message)] += 1
            if self._broke[place_of(message)] < self.settings.attempts:
                await self._later(message, None)
                return
            kind = f"a task broke its worker {self._broke[place_of(message)]} times ({type(error).__name__})"
            await self._bury(message, RunPoisoned(kind, remedy="see the log of the agent service"))
            await self._done(message)

    async def _admit(self, message: Msg) -> None:
        """Put a task that came without a line in line with its session."""
        sender = extract(message.headers)
        with self.bus.telemetry.span(
            f"process {SUBMIT.template}",
            kind=SpanKind.CONSUMER,
            attributes=attributes_of(SUBMIT.template, message, FRONT),
            parent=sender,
            links=(sender,) if sender else (),
        ):
            try:
                task = await take(self.bus, message)
                mark = f"front:{task.id}:{task.digest[:12]}"
                if not await self.deferred.took(task, message):
                    await self.bus.submit(SUBMIT_IN, task.submit, task.agent, task.submit.lane, message_id=mark)
            except Refused as error:
                await self._bury(message, error)
            except NatscopeError as error:
                log.warning("a task could not be admitted yet", extra={"reason": error.message})
                await message.nak(RETRY_S)
                return
            await message.ack()

    async def _work(self, message: Msg) -> None:
        held = self._held.task_of(message)
        if held is not None and await self.runner.holds(held.id):
            log.info("a task in hand was delivered again", extra={"task": held.id})
            return
        self._in_hand[message.reply] = message
        try:
            task = await take(self.bus, message)
            if await self.deferred.took(task, message):
                await self._done(message)
                return
        except Refused as error:
            await self._bury(message, error)
            await self._done(message)
            return
        except NatscopeError as error:
            await self._later(message, error)
            return
        if task.alone or await self.line.is_first(task, message):
            await self._run(task, message)
        elif len(self.line) >= self.settings.waiting_room:
            await self._later(message, None)
        else:
            self._own(self._guarded(self._wait_in_line(task, message), message))

    async def _look(self, message: Msg) -> None:
        try:
            await self.deferred.look(message)
        except Refused as error:
            await self._bury(message, error, *DEFER.keys_in(message.subject)[1:])
            await message.ack()

    async def _wait_in_line(self, task: Task, message: Msg) -> None:
        """Run a task when it is its turn; one that is interrupted before that ends without a run."""
        with self._held.hold(task, message):
            try:
                while (reason := await self.line.stand(task, message)) is not None:
                    if await take_back(self.bus, task, reason):
                        await self._done(message)
                        return
                    await asyncio.sleep(RETRY_S)
            except Unavailable as error:
                await self._later(message, error)
                return
            await self._run(task, message)

    async def _run(self, task: Task, message: Msg, *, again: bool = False) -> None:
        with self._held.hold(task, message):
            await self._carry_out(task, message, again=again)

    async def _carry_out(self, task: Task, message: Msg, *, again: bool) -> None:
        sender = extract(message.headers)
        deliveries = message.metadata.num_delivered
        if deliveries > 1:
            self.bus.telemetry.count(names.RUN_REDELIVERIES, 1, {names.AGENT: task.agent})
        with self.bus.telemetry.span(
            f"process {SUBMIT_IN.template}",
            kind=SpanKind.CONSUMER,
            attributes=attributes_of(SUBMIT_IN.template, message, RUNS) | {names.TASK_ID: task.id},
            parent=sender,
            links=(sender,) if sender else (),
        ):
            try:
                outcome = await self.runner.run(task, fresh=deliveries == 1 and not again)
            except RunFenced:
                log.info("the run is held by another process", extra={"task": task.id})
                self._in_hand.pop(message.reply, None)
                return
            except (Refused, RunPoisoned) as error:
                await self._bury(message, error, task.id)
            except Unavailable as error:
                await self._later(message, error)
                return
            else:
                if isinstance(outcome, Parked):
                    await self._park(task, message, outcome)
                    return
                if outcome.failure is not None and outcome.failure.code == "run_poisoned":
                    await self._bury(message, outcome.failure.error(), task.id)
        await self._done(message)

    async def _park(self, task: Task, message: Msg, parked: Parked) -> None:
        """Keep the task until somebody decides, or its time is up; above `parked` tasks, another replica may."""
        if len(self._parked) >= self.settings.parked:
            await message.nak(LONGEST_RETRY_S)
            self._in_hand.pop(message.reply, None)
            return
        kept = self._parked[task.id] = _ParkedTask(task, message, parked)
        self._asked |= {each.task: task.id for each in parked.waiting if each.task is not None}
        if (until := parked.wakes_at) is not None:
            left_s = max(0.0, until.timestamp() - time.time())
            kept.alarm = asyncio.get_running_loop().call_later(left_s, self.wake, task.id)
        log.info("a run waits for a decision", extra={"task": task.id, "calls": len(parked.waiting)})
        if await self.runner.is_due(task.id, parked):
            self.wake(task.id)

    def wake(self, task_id: str) -> None:
        """Go on with a parked task, if it is kept here: something was decided, or said, about it."""
        kept = self._parked.pop(task_id, None)
        if kept is None:
            return
        for each in kept.parked.waiting:
            self._asked.pop(each.task or "", None)
        if kept.alarm is not None:
            kept.alarm.cancel()
        self._own(self._guarded(self._run(kept.task, kept.message, again=True), kept.message))

    async def child_ended(self, child: str) -> None:
        """Go on with the task that waits for the outcome of another agent's, if it is kept here."""
        task_id = self._asked.get(child)
        if task_id is None:
            return
        for pause_s in STORED_S:
            await asyncio.sleep(pause_s)
            kept = self._parked.get(task_id)
            if kept is None or await self.runner.is_due(task_id, kept.parked):
                break
        self.wake(task_id)

    async def _look_after_parked(self) -> None:
        """Wake the parked tasks about which something was said while nobody here could hear it."""
        for task_id, kept in list(self._parked.items()):
            if await self.runner.is_due(task_id, kept.parked):
                self.wake(task_id)

    async def _done(self, message: Msg) -> None:
        await message.ack()
        self._in_hand.pop(message.reply, None)
        self._broke.pop(place_of(message), None)
        self.line.move()

    async def _later(self, message: Msg, error: NatscopeError | None) -> None:
        if error is not None:
            log.warning("a task goes back to the queue", extra={"reason": error.message})
        await message.nak(min(RETRY_S * message.metadata.num_delivered, LONGEST_RETRY_S))
        self._in_hand.pop(message.reply, None)

    async def _bury(self, message: Msg, error: NatscopeError, task_id: str | None = None) -> None:
        log.error("a task is buried", extra={"code": error.code, "reason": error.message})
        deliveries = message.metadata.num_delivered
        try:
            body = await self.bus.envelope.unpack(message.data, message.headers)
        except Refused:
            body = message.data
        await bury(self.bus, task_id or id_of(message), message.subject, body, error, deliveries)

    async def _beat(self) -> None:
        for beat in itertools.count(1):
            await asyncio.sleep(self.settings.beat.total_seconds())
            for message in list(self._in_hand.values()):
                try:
                    await message.in_progress()
                except nats_errors.Error as error:
                    log.warning("a task could not be kept", extra={"reason": repr(error)})
            try:
                await self.runner.look_for_controls()
                if beat % LOOK_BEATS == 0:
                    await self._look_after_parked()
            except NatscopeError as error:
                log.warning("controls could not be looked for", extra={"reason": error.message})

    def _own(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a worker died", exc_info=task.exception())

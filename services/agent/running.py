"""Running a task: starting or resuming its run, and recording its outcome."""

import asyncio
import logging
import time
from collections.abc import Callable

from opentelemetry.trace import SpanKind

from natscope.bus.ledger import latest
from natscope.contracts import event, hub, memory, tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ThinkingBlock
from natscope.contracts.errors import (
    NatscopeError,
    Refused,
    RunFenced,
    RunPoisoned,
    TaskConflict,
    Unavailable,
)
from natscope.contracts.message import Message
from natscope.contracts.run import JOURNALED, JournalEntry, Parked, Resumed, Started
from natscope.contracts.task import Finished
from natscope.telemetry import names
from services.agent import children
from services.agent.alerting import alert_again
from services.agent.asking import insist
from services.agent.casting import Casting
from services.agent.compressing import since_summary
from services.agent.custom.performing import FunctionPerformance
from services.agent.custom.resuming import come_of, is_time_up
from services.agent.deciding import decisions_for
from services.agent.doing import Hands
from services.agent.ending import describe, end_of, remember
from services.agent.hearing import Controls, controls_for
from services.agent.intake import Task
from services.agent.journal import Journal
from services.agent.loop import after, replay
from services.agent.narrating import retold, told_by
from services.agent.performing import Performance
from services.agent.seats import sessions_of, speaks_in
from services.agent.shortening import remembering
from services.agent.state import State, begin
from services.agent.stepping import ended_steps
from services.agent.teaming import placed
from services.agent.telling import Teller
from services.agent.unbegun import never_began, record
from services.agent.window import tokens_of

log = logging.getLogger(__name__)


class Runner:
    """Carries tasks to their outcome, here or after somebody else."""

    def __init__(self, hands: Hands, casting: Casting, *, instance: str, patience_s: float) -> None:
        self._hands = hands
        self._bus = hands.bus
        self._casting = casting
        self._instance = instance
        self._patience_s = patience_s
        self._live: dict[str, Performance] = {}
        self._beginning: dict[str, list[Callable[[Performance], None]]] = {}

    def interrupt(self, task: str, reason: str) -> bool:
        """Stop a task's run if it is in this process; whether it is."""
        return self._tell(task, lambda performance: performance.interrupt(reason))

    def steer(self, task: str, *, redirect: bool) -> bool:
        """Have a task's run hear what was said to it, if it is in this process; whether it is."""
        return self._tell(task, lambda performance: performance.steer(redirect=redirect))

    def _tell(self, task: str, tell: Callable[[Performance], None]) -> bool:
        if (performance := self._live.get(task)) is not None:
            tell(performance)
        elif (beginning := self._beginning.get(task)) is not None:
            beginning.append(tell)
        else:
            return False
        return True

    async def holds(self, task: str) -> bool:
        """Return whether a task that was begun here is still this process's; one that has no run yet is."""
        performance = self._live.get(task)
        return performance is None or await performance.is_ours()

    async def look_for_controls(self) -> None:
        """Tell runs what was said to them while nobody here could hear it."""
        for task_id, performance in list(self._live.items()):
            _tell_all(performance, await controls_for(self._bus, task_id, after=performance.state.heard))

    async def run(self, task: Task, *, fresh: bool) -> Finished | Parked:
        """Carry `task` to its outcome, or to where it waits for somebody; when this returns it is recorded.

        `fresh` says that nobody can have begun it yet, which saves a look; it may be wrong.

        Raises:
            RunFenced: another process holds the run.
            TaskConflict: the id belongs to another task, which stands.
            RunPoisoned: the journal cannot be gone on with.
            Unavailable: something the run needs to begin did not answer; it may be tried again.
        """
        teller = Teller(self._bus, task.id)
        self._beginning[task.id] = []
        try:
            performance = await self._begin(task, teller, fresh=fresh)
        except NatscopeError as error:
            if isinstance(error, (RunFenced, RunPoisoned, TaskConflict, Unavailable)):
                raise
            return await never_began(self._bus, task, error)
        finally:
            said = self._beginning.pop(task.id, [])
        if isinstance(performance, Parked):
            return performance
        for tell in said:
            tell(performance)
        self._live[task.id] = performance
        try:
            return await self._perform(task, performance, teller)
        finally:
            if self._live.get(task.id) is performance:
                del self._live[task.id]

    async def _perform(self, task: Task, performance: Performance, teller: Teller) -> Finished | Parked:
        began = time.perf_counter()
        state = performance.state
        with self._bus.telemetry.span(f"invoke_agent {state.agent.name}", attributes=_attributes(state)) as span:
            resumed = bool(state.takeovers)
            start = event.ReplyStart(
                id=f"start.{state.resumptions}",
                task_id=task.id,
                agent=state.agent.name,
                session=task.submit.lane,
                resumed=resumed,
            )
            if resumed or state.reply is None:
                await teller.tell(start)
            if resumed:
                span.add_event("resumed", {names.STEP: state.step})
            outcome = await performance.perform()
            if isinstance(outcome, Parked):
                span.add_event("parked", {names.STEP: outcome.step})
                await teller.flush()
                return outcome
            describe(span, outcome)
            await self._close(task, performance.state, teller, outcome)
        spent = time.perf_counter() - began
        labels = {names.AGENT: outcome.agent}
        self._bus.telemetry.record(names.INVOKE_AGENT_DURATION, spent, labels)
        self._bus.telemetry.record(names.RUN_OVERHEAD, max(0.0, spent - performance.effects_s), labels)
        self._bus.telemetry.record(names.INVOKE_AGENT_INFERENCE_CALLS, outcome.model_calls, labels)
        self._bus.telemetry.record(names.INVOKE_AGENT_TOOL_CALLS, outcome.tool_calls, labels)
        return outcome

    async def _begin(self, task: Task, teller: Teller, *, fresh: bool) -> Performance | Parked:
        if not fresh:
            if await latest(self._bus, JOURNALED.stream or "", JOURNALED.at(task.id)) is not None:
                return await self._take_over(task, teller)
            await teller.look_back(after=0)
        spec = await self._casting.spec(task.agent, task.submit)
        past, part = await asyncio.gather(self._recall(task, spec, None), self._casting.part(spec, task.submit, teller))
        position = past.position
        if spec.team is not None or spec.hands_over_to:
            position = await placed(self._bus, task.submit, position)
        started = Started(
            task=task.submit,
            digest=task.digest,
            agent=spec,
            tools=part.tools,
            skills=part.skills,
            context_size=part.context_size,
            past_tokens=tokens_of(past.messages),
            position=position,
            holder=self._instance,
        )
        journal = Journal(self._bus, task.id)
        try:
            _, controls = await asyncio.gather(journal.append(started), controls_for(self._bus, task.id))
        except RunFenced:
            return await self._take_over(task, teller)
        state = remembering(begin(started), past.messages)
        performance = _kind_of(state)(self._hands, journal, teller, state, past.messages)
        _tell_all(performance, controls)
        return performance

    async def _take_over(self, task: Task, teller: Teller) -> Performance | Parked:
        journal = Journal(self._bus, task.id)
        try:
            entries = await journal.read()
            state = replay(entries)
        except ValueError as error:
            raise RunPoisoned(f"the journal of {task.id!r} has lost its beginning") from error
        if state.started.digest != task.digest:
            raise TaskConflict(
                f"task id {task.id!r} was used before with another body",
                remedy="use a fresh id for another task",
            )
        controls = await controls_for(self._bus, task.id, after=state.heard)
        heard: list[JournalEntry] = []
        if state.parked is not None:
            returned = await children.returned(self._bus, state)
            steps: list[JournalEntry] = [*await ended_steps(self._bus, state)]
            steps += await come_of(self._bus, state)
            heard = [*await decisions_for(self._bus, task.id, state.parked), *returned, *steps]
            if not heard and not controls.interrupted and not controls.redirects:
                await alert_again(self._bus, teller, state, state.parked)
                return state.parked
        await teller.look_back(after=state.told)
        for told in retold(entries):
            await teller.tell(told)
        past: list[Message] = []
        if state.ended is None:
            for entry in (Resumed(holder=self._instance), *heard):
                await journal.append(entry)
                before, state = state, after(state, entry)
                for told in told_by(before, entry, state):
                    await teller.tell(told)
            past = (await self._recall(task, state.agent, state.started.position)).messages
        performance = _kind_of(state)(self._hands, journal, teller, remembering(state, past), past)
        _tell_all(performance, controls)
        return performance

    async def _recall(self, task: Task, spec: AgentSpec, upto: memory.Position | None) -> memory.Recalled:
        if task.alone:
            return memory.Recalled(messages=[], position=memory.Position())
        asked = memory.Recall(
            session=task.submit.lane,
            last=spec.recollection.last,
            token_budget=spec.recollection.token_budget,
            upto=upto,
        )
        attributes = {names.OPERATION: "search_memory", names.CONVERSATION: task.submit.lane}
        with self._bus.telemetry.span("search_memory", kind=SpanKind.CLIENT, attributes=attributes) as span:
            deadline = self._patience_s
            found = await insist(self._bus, memory.RECALL, asked, deadline_s=deadline, patience_s=deadline)
            span.set_attribute(names.MEMORY_RECORDS, len(found.messages))
        return found.model_copy(update={"messages": since_summary(found.messages)})

    async def is_due(self, task_id: str, parked: Parked) -> bool:
        """Return whether a parked run may go on: somebody decided, it was interrupted or redirected, or time is up."""
        controls = await controls_for(self._bus, task_id, after=parked.heard)
        if controls.interrupted or controls.redirects or is_time_up(parked):
            return True
        if await children.is_any_over(self._bus, parked):
            return True
        return bool(await decisions_for(self._bus, task_id, parked))

    async def _close(self, task: Task, state: State, teller: Teller, outcome: Finished) -> None:
        """Remember, tell, and record the outcome. Each part may be done again after a crash without doing more.

        Who hears the outcome finds it in the session; where the session ends with the task, nobody looks for it there.
        """
        await teller.tell(end_of(outcome))
        if not task.alone:
            await asyncio.gather(self._remember(state), teller.flush())
            await record(self._bus, outcome)
            return
        await asyncio.gather(self._remember(state), teller.flush(), record(self._bus, outcome))
        for session in (task.submit.lane, *sessions_of(state)):
            await self._bus.tell(tool.ENDED, tool.Ended(session=session), session)

    async def _remember(self, state: State) -> None:
        session = state.started.task.lane
        attributes = {names.OPERATION: "upsert_memory", names.CONVERSATION: session}
        with self._bus.telemetry.span("upsert_memory", kind=SpanKind.CLIENT, attributes=attributes):
            try:
                await remember(self._bus, state, patience_s=self._patience_s)
            except Refused as error:
                log.error("a session was not told of a run", extra={"session": session, "reason": error.message})
        if state.ended is None or state.ended.state != "completed" or state.ended.message is None:
            return
        aloud = [block for block in state.ended.message.content if not isinstance(block, ThinkingBlock)]
        for name, speaker in speaks_in(state):
            spoken = state.ended.message.model_copy(update={"content": aloud, "name": speaker})
            said = hub.Said(message=spoken, session=session)
            await self._bus.record(hub.SAID, said, name, message_id=f"{spoken.id}@{name}")


def _kind_of(state: State) -> type[Performance]:
    return FunctionPerformance if state.agent.strategy == "custom" else Performance


def _tell_all(performance: Performance, controls: Controls) -> None:
    performance.say(controls.steered)
    if controls.interrupted:
        performance.interrupt(controls.reason or "interrupted")


def _attributes(state: State) -> dict[str, str]:
    task = state.started.task
    return {
        names.OPERATION: "invoke_agent",
        names.AGENT: state.agent.name,
        names.AGENT_DESCRIPTION: state.agent.description,
        names.CONVERSATION: task.lane,
        names.REQUEST_MODEL: state.agent.model,
        names.TASK_ID: task.task_id,
    }

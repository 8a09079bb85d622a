"""Performing one run: deciding, acting, recording, until there is an outcome."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from natscope.bus import Bus
from natscope.contracts import event, memory, tool
from natscope.contracts.blocks import ContentBlock, ToolUseBlock
from natscope.contracts.contract import now
from natscope.contracts.errors import ContentRefused, Failure, NatscopeError, RunFenced, RunPoisoned
from natscope.contracts.message import Message
from natscope.contracts.run import Ended, JournalEntry, ModelReplied, Parked, ToolReturned
from natscope.contracts.task import Finished, Outcome
from services.agent.acting import Actor, interrupted
from services.agent.asking import insist
from services.agent.journal import Journal
from services.agent.loop import AskModel, CallTools, Done, Finish, Park, after, decide, said
from services.agent.own import FINISH, answer_text
from services.agent.state import State, open_calls_of
from services.agent.telling import Teller
from services.agent.thinking import Thinker, tell_reply

log = logging.getLogger(__name__)
T = TypeVar("T")

DEADLINE = "deadline"


class _Stopped(Exception):
    """The run was interrupted, or its time is up."""


@dataclass
class Hands:
    """What a run works with."""

    bus: Bus
    thinker: Thinker
    actor: Actor
    attempts: int


class Performance:
    """One run in this process's hands."""

    def __init__(self, hands: Hands, journal: Journal, teller: Teller, state: State, past: list[Message]) -> None:
        self._hands = hands
        self._journal = journal
        self._teller = teller
        self._past = past
        self._stop = asyncio.Event()
        self._reason = ""
        self._expired = False
        self._writes: list[asyncio.Task[None]] = []
        self._working: set[asyncio.Task[Any]] = set()
        self.state = state
        self.effects_s = 0.0
        """Seconds spent waiting for models and tools."""

    def interrupt(self, reason: str) -> None:
        """Stop the run: open calls are closed as interrupted, what was produced is kept."""
        self._reason = reason
        self._halt()

    def _expire(self) -> None:
        self._expired = True
        self._halt()

    def _halt(self) -> None:
        self._stop.set()
        for work in self._working:
            work.cancel()

    async def perform(self) -> Finished | Parked:
        """Carry the run on and return its outcome, or what it waits with; either is in the journal then.

        Raises:
            RunFenced: another process holds the run now; nothing more may be done here.
        """
        left = self.state.agent.limits.deadline.total_seconds() - self._age_s()
        alarm = asyncio.get_running_loop().call_later(max(0.0, left), self._expire)
        try:
            outcome = await self._steps()
        except _Stopped:
            outcome = await self._stopped()
        except RunFenced:
            raise
        except NatscopeError as error:
            log.warning("run failed", extra={"run": self._task, "code": error.code, "reason": error.message})
            outcome = self._outcome("failed", self._last_words(), failure=Failure.of(error))
        finally:
            alarm.cancel()
        await self._settled()
        if isinstance(outcome, Parked):
            return outcome
        if self.state.ended is None:
            await self._append(Ended(outcome=outcome))
        return outcome

    async def _steps(self) -> Finished | Parked:
        if self.state.takeovers > self._hands.attempts:
            raise RunPoisoned(
                f"task {self._task!r} lost its worker {self.state.takeovers} times without a step in between",
                remedy="see `task.buried` and the logs of the agent service",
            )
        while True:
            match decide(self.state):
                case AskModel() as wanted:
                    await self._ask_model(wanted)
                case CallTools() as wanted:
                    await self._call_tools(wanted)
                case Park() as wanted:
                    return await self._park(wanted)
                case Finish() as wanted:
                    if wanted.finish_reason == "content_filter":
                        raise ContentRefused("the provider's policy stopped the answer")
                    limit = wanted.limit
                    return self._outcome("limited" if limit else "completed", wanted.message, limit=limit)
                case Done() as done:
                    return done.outcome

    async def _ask_model(self, wanted: AskModel) -> None:
        if wanted.limit is not None:
            await self._tell_limit(wanted.limit)
        try:
            reply = await self._effect(self._hands.thinker.think(self.state, self._past, wanted, self._teller))
        except _Stopped:
            await self._hands.thinker.forget(self.state, wanted.step)
            raise
        message = reply.message.model_copy(update={"id": f"{self._task}-{wanted.step}", "name": self.state.agent.name})
        if wanted.last:
            content = [block for block in message.content if not _is_barred(self.state, block)]
            message = message.model_copy(update={"content": content})
        entry = ModelReplied(
            step=wanted.step,
            message=message,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            model=reply.model,
        )
        self._happened(entry)
        await tell_reply(self._teller, self._task, wanted.step, reply.model_copy(update={"message": message}))

    async def _call_tools(self, wanted: CallTools) -> None:
        for batch in _batches(self.state, wanted.calls):
            await _together([self._call_tool(index, call) for index, call in batch])
        await self._settled()
        if self._stop.is_set():
            raise _Stopped

    async def _park(self, wanted: Park) -> Parked:
        """Write down what is waited with, and tell it."""
        if self._stop.is_set():
            raise _Stopped
        permissions = self.state.agent.permissions
        until = now() + permissions.wait if permissions.wait is not None else None
        parked = Parked(step=wanted.step, waiting=list(wanted.waiting), until=until, unanswered=permissions.unanswered)
        await self._settled()
        await self._append(parked)
        id = f"{wanted.step}.{len(self.state.decisions)}.waiting"
        told = event.ApprovalNeeded(id=id, task_id=self._task, waiting=parked.waiting, until=until)
        await self._teller.tell(told)
        return parked

    async def _call_tool(self, index: int, call: ToolUseBlock) -> None:
        step = self.state.step
        try:
            called = await self._effect(self._hands.actor.act(self.state, index, call, self._teller))
        except _Stopped:
            await self._hands.actor.forget(self.state, index)
            called = interrupted(call, index)
        self._happened(ToolReturned(step=step, result=called.result, backend=called.backend))
        await self._tell_result(step, index, called)

    async def _effect(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`, or for an interrupt, whichever is first; `work` is cancelled then."""
        if self._stop.is_set():
            work.close()
            raise _Stopped
        began = time.perf_counter()
        task = asyncio.create_task(work)
        self._working.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self._stop.is_set() and this is not None and not this.cancelling():
                raise _Stopped from None
            raise
        finally:
            self._working.discard(task)
            self.effects_s += time.perf_counter() - began

    def _happened(self, entry: JournalEntry) -> None:
        """Take `entry` into the state and write it down while its effects begin.

        A reply may be written while its calls are under way: if the entry is lost with this process, the gateway gives
        the same reply again, and the calls have the same ids. A result is written before the model hears of it.
        """
        self.state = after(self.state, entry)
        write = asyncio.create_task(self._journal.append(entry))
        write.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._writes.append(write)

    async def _append(self, entry: JournalEntry) -> None:
        self.state = after(self.state, entry)
        await self._journal.append(entry)

    async def _settled(self) -> None:
        """Return when everything that happened is written, in the order in which it happened."""
        writes, self._writes = self._writes, []
        for failure in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def _stopped(self) -> Finished:
        step = self.state.step
        for index, call in open_calls_of(self.state):
            called = interrupted(call, index)
            self._happened(ToolReturned(step=step, result=called.result))
            await self._tell_result(step, index, called)
        if self._expired:
            await self._tell_limit(DEADLINE)
            return self._outcome("limited", self._last_words(), limit=DEADLINE)
        await self._teller.tell(event.Interrupted(id="interrupted", task_id=self._task, reason=self._reason))
        return self._outcome("interrupted", self._last_words())

    async def _tell_result(self, step: int, index: int, called: tool.Called) -> None:
        id = f"{step}.{index}.result"
        await self._teller.tell(
            event.ToolResult(id=id, task_id=self._task, step=step, result=called.result, backend=called.backend)
        )

    async def _tell_limit(self, limit: str) -> None:
        await self._teller.tell(event.LimitReached(id=f"limit.{limit}", task_id=self._task, limit=limit))

    def _outcome(
        self, state: Outcome, message: Message, *, failure: Failure | None = None, limit: str | None = None
    ) -> Finished:
        return Finished(
            task_id=self._task,
            agent=self.state.agent.name,
            session=self.state.started.task.lane,
            state=state,
            text=message.text if self.state.output is None else answer_text(self.state.output),
            message=message,
            output=self.state.output,
            failure=failure,
            limit=limit,
            usage=self.state.usage,
            model_calls=self.state.step,
            tool_calls=self.state.tool_calls,
            digest=self.state.started.digest,
            started_at=self.state.started.at,
        )

    def _last_words(self) -> Message:
        reply = self.state.reply
        return reply.message if reply is not None else said(self.state, "")

    def _age_s(self) -> float:
        """Return how old the run is, without the time in which it waited for somebody."""
        age = time.time() - self.state.started.at.timestamp()
        return max(0.0, age - self.state.waited.total_seconds())

    @property
    def _task(self) -> str:
        return self.state.started.task.task_id


def _is_barred(state: State, block: ContentBlock) -> bool:
    """Return whether `block` is a call that the last reply of a run must not make."""
    return isinstance(block, ToolUseBlock) and not (block.name == FINISH and state.owes_output)


def _batches(state: State, calls: tuple[tuple[int, ToolUseBlock], ...]) -> Iterator[list[tuple[int, ToolUseBlock]]]:
    """Give the calls in order, those together that may run at the same time."""
    alone = {spec.name for spec in state.tools if not spec.concurrent}
    batch: list[tuple[int, ToolUseBlock]] = []
    for index, call in calls:
        if batch and (call.name in alone or not state.agent.parallel_tool_calls):
            yield batch
            batch = []
        batch.append((index, call))
        if call.name in alone:
            yield batch
            batch = []
    if batch:
        yield batch


async def _together(work: list[Coroutine[Any, Any, None]]) -> None:
    """Run all of `work`; the first failure cancels the rest and is raised as it is."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def remember(bus: Bus, state: State, *, patience_s: float) -> None:
    """Append what the run has said to its session; what is there already is not appended again."""
    asked = memory.Append(session=state.started.task.lane, messages=[m for m in state.messages if m.content])
    await insist(bus, memory.APPEND, asked, deadline_s=patience_s, patience_s=patience_s)

"""Performing one run: deciding, acting, recording, until there is an outcome."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from natscope.bus import Bus
from natscope.contracts import event, tool
from natscope.contracts.blocks import ContentBlock, ToolUseBlock
from natscope.contracts.contract import now
from natscope.contracts.errors import ContentRefused, Failure, NatscopeError, RunFenced, RunPoisoned
from natscope.contracts.message import Message
from natscope.contracts.run import Ended, JournalEntry, ModelReplied, Parked, Steered, ToolReturned
from natscope.contracts.task import Finished
from services.agent.acting import Actor, interrupted
from services.agent.batching import batches, together
from services.agent.ending import age_s, outcome_of
from services.agent.hearing import Ear
from services.agent.journal import Journal
from services.agent.loop import AskModel, CallTools, Decision, Done, Finish, Park, after, decide
from services.agent.own import FINISH
from services.agent.state import State, open_calls_of
from services.agent.telling import Teller
from services.agent.thinking import Thinker, tell_reply

log = logging.getLogger(__name__)
T = TypeVar("T")

DEADLINE = "deadline"


class _Stopped(Exception):
    """The run was interrupted or redirected, or its time is up."""


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
        self._interrupted = False
        self._expired = False
        self._redirected = False
        self._ear = Ear(hands.bus, state.started.task.task_id, state.heard)
        self._writes: list[asyncio.Task[None]] = []
        self._working: set[asyncio.Task[Any]] = set()
        self.state = state
        self.effects_s = 0.0
        """Seconds spent waiting for models and tools."""

    def interrupt(self, reason: str) -> None:
        """Stop the run: open calls are closed as interrupted, what was produced is kept."""
        self._reason = reason
        self._interrupted = True
        self._halt()

    def steer(self, *, redirect: bool) -> None:
        """Hear what was said to the run before its next model call; with `redirect`, what is under way is dropped."""
        self._ear.prick()
        if redirect:
            self._redirected = True
            self._halt()

    def say(self, steered: tuple[Steered, ...]) -> None:
        """Take what was said to the run before it was taken in hand."""
        if self._ear.take(steered):
            self._redirected = True
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
        left = self.state.agent.limits.deadline.total_seconds() - age_s(self.state)
        alarm = asyncio.get_running_loop().call_later(max(0.0, left), self._expire)
        try:
            outcome = await self._steps()
        except _Stopped:
            outcome = await self._stopped()
        except RunFenced:
            raise
        except NatscopeError as error:
            log.warning("run failed", extra={"run": self._task, "code": error.code, "reason": error.message})
            outcome = outcome_of(self.state, "failed", None, failure=Failure.of(error))
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
        asked_before = self.state.takeovers > 0
        while True:
            try:
                if self._redirected:
                    await self._turn()
                wanted = decide(self.state)
                # who held the run before may have asked just this: with more in it, it would be paid twice
                if not (asked_before and isinstance(wanted, AskModel)) and await self._was_told(wanted):
                    continue
                asked_before = False
                outcome = await self._step(wanted)
            except _Stopped:
                if self._interrupted or self._expired:
                    raise
                continue
            if outcome is not None:
                return outcome

    async def _step(self, wanted: Decision) -> Finished | Parked | None:
        match wanted:
            case AskModel():
                await self._ask_model(wanted)
            case CallTools():
                await self._call_tools(wanted)
            case Park():
                return await self._park(wanted)
            case Finish(message, reason, limit):
                if reason == "content_filter":
                    raise ContentRefused("the provider's policy stopped the answer")
                return outcome_of(self.state, "limited" if limit else "completed", message, limit=limit)
            case Done(outcome):
                return outcome
        return None

    async def _was_told(self, wanted: Decision) -> bool:
        """Tell the model what was said meanwhile, where there is a next reply in which it can answer."""
        over = isinstance(wanted, Finish) and wanted.limit is not None
        if over or not isinstance(wanted, AskModel | Finish):
            return False
        return await self._tell_steering()

    async def _turn(self) -> None:
        """Drop what is under way, and tell the model what it is dropped for."""
        self._redirected = False
        if not self._interrupted and not self._expired:
            self._stop.clear()
        await self._close_calls()
        await self._settled()
        await self._tell_steering()

    async def _tell_steering(self) -> bool:
        told = await self._ear.hear()
        for entry in told:
            await self._append(entry)
            id = f"steer.{entry.sequence}"
            await self._teller.tell(
                event.Steered(id=id, task_id=self._task, message=entry.message, redirect=entry.redirect)
            )
        return bool(told)

    async def _ask_model(self, wanted: AskModel) -> None:
        if wanted.limit is not None:
            await self._tell_limit(wanted.limit)
        try:
            reply = await self._effect(self._hands.thinker.think(self.state, self._past, wanted, self._teller))
        except _Stopped:
            await self._hands.thinker.forget(self.state, wanted.step)
            if self._redirected:
                await self._teller.tell_delta(event.ModelReset(task_id=self._task, step=wanted.step))
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
            cost_usd=reply.cost_usd,
            model=reply.model,
        )
        self._happened(entry)
        await tell_reply(self._teller, self._task, wanted.step, reply.model_copy(update={"message": message}))

    async def _call_tools(self, wanted: CallTools) -> None:
        for batch in batches(self.state, wanted.calls):
            await together([self._call_tool(index, call) for index, call in batch])
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
        parked = parked.model_copy(update={"heard": self.state.heard})
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
        await self._close_calls()
        if self._expired:
            await self._tell_limit(DEADLINE)
            return outcome_of(self.state, "limited", None, limit=DEADLINE)
        await self._teller.tell(event.Interrupted(id="interrupted", task_id=self._task, reason=self._reason))
        return outcome_of(self.state, "interrupted", None)

    async def _close_calls(self) -> None:
        step = self.state.step
        for index, call in open_calls_of(self.state):
            called = interrupted(call, index)
            self._happened(ToolReturned(step=step, result=called.result))
            await self._tell_result(step, index, called)

    async def _tell_result(self, step: int, index: int, called: tool.Called) -> None:
        id = f"{step}.{index}.result"
        await self._teller.tell(
            event.ToolResult(id=id, task_id=self._task, step=step, result=called.result, backend=called.backend)
        )

    async def _tell_limit(self, limit: str) -> None:
        await self._teller.tell(event.LimitReached(id=f"limit.{limit}", task_id=self._task, limit=limit))

    @property
    def _task(self) -> str:
        return self.state.started.task.task_id


def _is_barred(state: State, block: ContentBlock) -> bool:
    """Return whether `block` is a call that the last reply of a run must not make."""
    return isinstance(block, ToolUseBlock) and not (block.name == FINISH and state.owes_output)

"""Performing one run: deciding, acting, recording, until there is an outcome."""

import asyncio
import logging

from natscope.contracts import event
from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import ContentRefused, ContextTooLong, Failure, NatscopeError, RunFenced, RunPoisoned
from natscope.contracts.message import Message
from natscope.contracts.run import Ended, Parked, Steered
from natscope.contracts.task import Finished
from services.agent import children, helping, narrating
from services.agent.acting import interrupted
from services.agent.actions import AskModel, CallTools, Compress, Decision, Done, Fail, Finish, Park
from services.agent.alerting import alert
from services.agent.batching import batches, together
from services.agent.doing import Deeds, Hands
from services.agent.ending import age_s, cut_short, outcome_of
from services.agent.hearing import Ear
from services.agent.journal import Journal
from services.agent.loop import decide, waiting_of
from services.agent.reasking import reasked
from services.agent.recording import Record
from services.agent.reins import Reins, Stopped
from services.agent.replying import entry_of
from services.agent.state import State, losses, open_calls_of
from services.agent.stepping import begin_tasks
from services.agent.teaming import hear
from services.agent.telling import Teller
from services.agent.window import may_compress

log = logging.getLogger(__name__)

DEADLINE = "deadline"
TO_AND_FRO = 10
"""How many times as often as it may lose its worker a run may change hands between processes that live."""


class Performance:
    """One run in this process's hands."""

    def __init__(self, hands: Hands, journal: Journal, teller: Teller, state: State, past: list[Message]) -> None:
        self._hands = hands
        self._record = Record(journal, teller, state)
        self._teller = teller
        self._past = past
        self._deeds = Deeds(hands, self._record, past)
        self._reins = Reins()
        self._reason = ""
        self._interrupted = False
        self._expired = False
        self._redirected = False
        self._asked_before = False
        self._ear = Ear(hands.bus, state.started.task.task_id, state.heard)
        self._begun: set[str] = set()

    def interrupt(self, reason: str) -> None:
        """Stop the run: open calls are closed as interrupted, what was produced is kept."""
        self._reason = reason
        self._interrupted = True
        self._reins.pull()

    def steer(self, *, redirect: bool) -> None:
        """Hear what was said to the run before its next model call; with `redirect`, what is under way is dropped."""
        self._ear.prick()
        if redirect:
            self._redirected = True
            self._reins.pull()

    def say(self, steered: tuple[Steered, ...]) -> None:
        """Take what was said to the run before it was taken in hand."""
        if self._ear.take(steered):
            self._redirected = True
            self._reins.pull()

    async def is_ours(self) -> bool:
        """Return whether nobody else has gone on with the run, as far as the journal tells."""
        return await self._record.is_ours()

    def _expire(self) -> None:
        self._expired = True
        self._reins.pull()

    async def perform(self) -> Finished | Parked:
        """Carry the run on and return its outcome, or what it waits with; either is in the journal then.

        Raises:
            RunFenced: another process holds the run now; nothing more may be done here.
        """
        left = self.state.agent.limits.deadline.total_seconds() - age_s(self.state)
        alarm = asyncio.get_running_loop().call_later(max(0.0, left), self._expire)
        try:
            outcome = await self._steps()
        except Stopped:
            outcome = await self._stopped()
        except RunFenced:
            raise
        except NatscopeError as error:
            log.warning("run failed", extra={"run": self._task, "code": error.code, "reason": error.message})
            outcome = await self._failed(error)
        finally:
            alarm.cancel()
        await self._record.settled()
        if isinstance(outcome, Parked):
            return outcome
        if self.state.ended is None:
            await self._record.append(Ended(outcome=outcome))
        return outcome

    def _check_takeovers(self) -> None:
        lost, taken = losses(self.state), len(self.state.takeovers)
        if lost > self._hands.attempts or taken > TO_AND_FRO * self._hands.attempts:
            kind = f"lost its worker {lost} times" if lost > self._hands.attempts else f"changed hands {taken} times"
            raise RunPoisoned(
                f"task {self._task!r} {kind} without a step in between",
                remedy="see `task.buried` and the logs of the agent service",
            )

    async def _steps(self) -> Finished | Parked:
        self._check_takeovers()
        self._asked_before = bool(self.state.takeovers)
        if self._asked_before:
            await self._deeds.look_back()
        while True:
            try:
                if self._redirected:
                    await self._turn()
                outcome = await self._go_on()
            except Stopped:
                if self._interrupted or self._expired:
                    raise
                continue
            if outcome is not None:
                return outcome

    async def _go_on(self) -> Finished | Parked | None:
        if self.state.agent.hooks:
            await self._reins.hold(self._deeds.prepare())
        wanted = decide(self.state)
        # who held the run before may have asked just this: with more in it, it would be paid twice
        if not (self._asked_before and isinstance(wanted, AskModel)) and await self._was_told(wanted):
            return None
        self._asked_before = False
        if isinstance(wanted, Finish) and self._deeds.may_object and await self._objected(wanted):
            return None
        return await self._step(wanted)

    async def _objected(self, wanted: Finish) -> bool:
        return await self._reins.hold(self._deeds.object_to(wanted))

    async def _step(self, wanted: Decision) -> Finished | Parked | None:
        match wanted:
            case AskModel():
                await self._ask_model(wanted)
            case Compress():
                await self._compress()
            case CallTools():
                await self._call_tools(wanted)
            case Park():
                return await self._park(wanted)
            case Finish(message, reason, limit):
                if reason == "content_filter":
                    raise ContentRefused("the provider's policy stopped the answer")
                return outcome_of(self.state, "limited" if limit else "completed", message, limit=limit)
            case Fail(failure):
                raise failure.error()
            case Done(outcome):
                return outcome
        return None

    async def _was_told(self, wanted: Decision) -> bool:
        """Tell the model what was said meanwhile, where there is a next reply in which it can answer."""
        over = isinstance(wanted, Finish) and wanted.limit is not None
        if over or not isinstance(wanted, AskModel | Finish):
            return False
        told = await self._tell_steering()
        if isinstance(wanted, AskModel) and self.state.fault is None:
            return await hear(self._hands.bus, self._record) or told
        return told

    async def _turn(self) -> None:
        """Drop what is under way, and tell the model what it is dropped for.

        The same redirection may be heard twice, as it is said and in its stream; it is one until it is told.
        """
        await self._close_calls()
        await self._record.settled()
        await self._ear.listen()
        self._redirected = False
        if not self._interrupted and not self._expired:
            self._reins.pulled = False
        await self._tell_steering()

    async def _tell_steering(self) -> bool:
        told = await self._ear.hear()
        for entry in told:
            await self._record.append(entry)
            await self._teller.tell(narrating.steered(self._task, entry))
        return bool(told)

    async def _ask_model(self, wanted: AskModel) -> None:
        if wanted.limit is not None:
            await self._record.limit_reached(wanted.limit)
        elif self.state.fault is not None:
            await self._teller.tell(reasked(self.state, self.state.fault))
        try:
            reply = await self._reins.hold(self._deeds.think(wanted))
        except ContextTooLong:
            if self.state.compressed_at == self.state.step or not may_compress(self.state):
                raise
            await self._compress()
            return
        except Stopped:
            await self._hands.thinker.forget(self.state, wanted.step)
            if self._redirected:
                await self._teller.tell_delta(event.ModelReset(task_id=self._task, step=wanted.step))
            raise
        entry = entry_of(self.state, wanted, reply)
        if self._deeds.are_kept_first:
            await self._record.written(entry)
        else:
            self._record.happened(entry)
        for told in narrating.replied(self._task, wanted.step, entry.message, entry):
            await self._teller.tell(told)

    async def _compress(self) -> None:
        """Have the model go on from a summary."""
        entry = await self._reins.hold(self._deeds.summarise())
        await self._record.append(entry)
        await self._teller.tell(narrating.compressed(self.state, entry))

    async def _call_tools(self, wanted: CallTools) -> None:
        await begin_tasks(self._hands.bus, self._record, self._begun)
        for batch in batches(self.state, wanted.calls):
            await together([self._call_tool(index, call) for index, call in batch])
        await self._record.settled()
        self._reins.check()

    async def _park(self, wanted: Park) -> Parked | None:
        """Write down what is waited with, and tell it."""
        self._reins.check()
        if not await begin_tasks(self._hands.bus, self._record, self._begun):
            return None
        return await self._stand_by(list(wanted.waiting))

    async def _stand_by(self, waiting: list[Waiting]) -> Parked:
        await self._record.settled()
        await self._teller.flush()
        parked = helping.parked(self.state, waiting).model_copy(update={"told": self._teller.kept})
        await self._record.append(parked)
        await alert(self._hands.bus, self._teller, self.state, parked)
        return parked

    async def _failed(self, error: NatscopeError) -> Finished | Parked:
        failure = Failure.of(error)
        if not self._reins.pulled and helping.may_help(self.state, error):
            await self._record.settled()
            return await self._stand_by([helping.asked_for_help(self.state, failure)])
        return outcome_of(self.state, "failed", None, failure=failure)

    async def _call_tool(self, index: int, call: ToolUseBlock) -> None:
        try:
            called = await self._reins.hold(self._deeds.act(index, call))
        except Stopped:
            await self._hands.actor.forget(self.state, index)
            called = interrupted(call, index, self._teller.printed_by(self.state.step, call.id))
        await self._record.returned(called)

    async def _stopped(self) -> Finished:
        await self._close_calls()
        words = cut_short(self.state, self._teller.draft_of(self.state.step + 1))
        if self._expired:
            await self._record.limit_reached(DEADLINE)
            return outcome_of(self.state, "limited", words, limit=DEADLINE)
        await self._teller.tell(event.Interrupted(id="interrupted", task_id=self._task, reason=self._reason))
        return outcome_of(self.state, "interrupted", words)

    async def _close_calls(self) -> None:
        for each in waiting_of(self.state):
            await children.stop(self._hands.bus, each)
        for index, call in open_calls_of(self.state):
            await self._record.returned(interrupted(call, index))

    @property
    def effects_s(self) -> float:
        """Seconds spent waiting for models, tools and hooks."""
        return self._reins.effects_s

    @property
    def state(self) -> State:
        """The run as it is by now."""
        return self._record.state

    @property
    def _task(self) -> str:
        return self._record.task_id

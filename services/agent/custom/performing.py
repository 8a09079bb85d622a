"""Performing a run whose agent is a function: run from the beginning, given back what it had, and carried on."""

import asyncio
import logging
import random
import traceback
import uuid
from collections import deque
from dataclasses import replace
from datetime import datetime

from natscope.agents import Context, FunctionAgent
from natscope.bus.streams import CALLS, REPLIES
from natscope.contracts import event
from natscope.contracts.approval import Waiting
from natscope.contracts.contract import now
from natscope.contracts.errors import BudgetExhausted, Failure, FunctionFailed, NatscopeError, RunFenced
from natscope.contracts.run import Parked, Performed, Steered
from natscope.contracts.task import Finished
from services.agent import children
from services.agent.actions import Finish
from services.agent.alerting import alert
from services.agent.custom import asking
from services.agent.custom.answering import ended
from services.agent.custom.branches import At, Branches
from services.agent.custom.effects import Effects
from services.agent.custom.folding import END, RUN_LIMIT, limit_of
from services.agent.custom.replaying import Replay
from services.agent.ending import outcome_of
from services.agent.hooks.folding import of_question
from services.agent.hooks.guarding import judged
from services.agent.hooks.questioning import FIRST, began
from services.agent.mending import mended
from services.agent.performing import Performance
from services.agent.sharing import shared

log = logging.getLogger(__name__)

MOST_STEPS = 10_000
"""Things that a function may ask for in one run."""
AHEAD = 32
"""Of what comes at once, so much may be ahead of the journal: other runs have their turn, and an interrupt is heard."""


class FunctionPerformance(Performance):
    """One run of a function in this process's hands."""

    _waits: dict[str, At]
    _wanted: list[At]
    """Agents that are to be asked."""
    _promised: dict[str, Waiting]
    _under_way: dict["asyncio.Task[Performed]", At]

    def steer(self, *, redirect: bool) -> None:
        """Keep what was said for `ctx.heard`; nothing is dropped for it."""
        self._ear.prick()

    def say(self, steered: tuple[Steered, ...]) -> None:
        """Keep what was said for `ctx.heard`."""
        self._ear.take(steered)

    async def _steps(self) -> Finished | Parked:
        self._check_takeovers()
        self._waits, self._wanted, self._promised, self._under_way = {}, [], {}, {}
        if self.state.ended is not None:
            return self.state.ended
        self._resumed = bool(self.state.takeovers)
        if self.state.agent.hooks:
            await self._reins.hold(began(self._deeds.hooks, keep=True))
        instead = of_question(self.state, "before_reply", FIRST)
        if END not in self.state.performed and instead is not None and instead.do == "skip":
            self._record.happened(ended(self.state, instead.content))
        if END in self.state.performed:
            return await self._judged()
        return await self._run(self._hands.functions.load(self.state.agent))

    async def _run(self, function: FunctionAgent) -> Finished | Parked:
        self._replay = Replay(self.state.performed)
        self._effects = Effects(self._hands, self._record, self._deeds.hooks)
        asked = self.state.messages[0]
        task = self.state.started.task.model_copy(update={"content": asked.content})
        branches = Branches(function(Context(task, mended(self._past)), asked))
        try:
            parked = await self._carry_on(branches)
            if parked is not None or (limited := self._end(branches)) is None:
                return parked or await self._judged()
            return limited
        finally:
            for work in self._under_way:
                work.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            branches.close()

    async def _carry_on(self, branches: Branches) -> Parked | None:
        """Run the function to its end, or to where it only waits."""
        asked = deque(branches.begin())
        while True:
            while asked and not branches.over:
                at = asked.popleft()
                entry = self._replay.kept(at) or await self._begin(at)
                if entry is not None:
                    asked.extend(_given(branches, entry))
            if branches.over:
                return None
            if self._wanted:
                for entry in await self._ask_others():
                    asked.extend(_given(branches, entry))
                continue
            if not self._under_way:
                return await self._rest()
            done, _ = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            for work in [each for each in self._under_way if each in done]:
                entry = work.result()
                del self._under_way[work]
                self._record.happened(entry)
                asked.extend(_given(branches, entry))

    async def _begin(self, at: At) -> Performed | None:
        """Begin a step that the journal does not have; what came of it is returned if that is known at once."""
        self._reins.check()
        if self.state.agent.hooks and at.step.kind in ("model", "tool", "ask"):
            await self._reins.hold(self._permit(at))
        entry = await self._at_once(at)
        if entry is not None:
            self._record.happened(entry)
            if not len(self.state.performed) % AHEAD:
                await self._record.settled()
            return entry
        if at.step.kind in ("approve", "ask", "wake") or asking.held(self.state, at) is not None:
            self._waits[at.position] = at
            if at.step.kind == "ask" and asking.held(self.state, at) is None:
                self._wanted.append(at)
            return None
        await self._record.settled()
        self._under_way[asyncio.create_task(self._reins.hold(self._effects.of(at)))] = at
        return None

    async def _ask_others(self) -> list[Performed]:
        """Ask the agents that the function wants to ask at once; what it is told of those that cannot be asked."""
        wanted, self._wanted, failed = self._wanted, [], list[Performed]()
        await self._record.settled()
        waits = {each.call.id: each for each in self._shared()}
        for at in wanted:
            entry = await self._effects.begin(at, waits[at.position])
            if entry is not None:
                del self._waits[at.position]
                self._record.happened(entry)
                failed.append(entry)
        return failed

    async def _permit(self, at: At) -> None:
        """Find out what had begun of a step, and have the hooks judge the call that it may be."""
        hooks = self._deeds.hooks
        if self._resumed and at.step.kind == "model":
            await hooks.look_for(REPLIES, asking.request_of(self.state, at))
        if at.step.kind == "tool":
            if self._resumed:
                await hooks.look_for(CALLS, asking.id_of(self.state, at))
            await judged(hooks, replace(self.state, place=at.position), 0, asking.call_of(at))
        if at.step.kind == "ask" and asking.barred(self.state, at) is None:
            id, call = asking.id_of(self.state, at), asking.ask_of(at)
            await hooks.decided("permission", id, keep=True, call=call, verdict="allow")

    async def _at_once(self, at: At) -> Performed | None:
        """Return what comes of a step that nobody else has a part in, or of one that may not be taken."""
        match at.step.kind:
            case _ if len(self.state.performed) + len(self._under_way) + len(self._waits) >= MOST_STEPS:
                text = f"the function has asked for {MOST_STEPS} things"
                raise BudgetExhausted(text, details={RUN_LIMIT: "steps"})
            case "now":
                return asking.done(at, now().isoformat())
            case "random":
                return asking.done(at, random.random())  # noqa: S311 - no secret
            case "uuid":
                return asking.done(at, str(uuid.uuid4()))
            case "heard":
                return asking.done(at, [each.model_dump(mode="json") for each in await self._heard()])
            case "wake":
                due = now() >= datetime.fromisoformat(str(at.step.body["until"]))
                return asking.done(at, None) if due else None
            case "approve":
                decision = self.state.decisions.get(self._waiting(at).call_id)
                return asking.decided(at, decision) if decision is not None else None
            case "ask":
                refused = asking.barred(self.state, at)
                return asking.failed(at, refused) if refused is not None else None
            case "model":
                return await self._limited(at)
            case _:
                return None

    async def _limited(self, at: At) -> Performed | None:
        error = asking.limit_before(
            self.state, asked=sum(each.step.kind == "model" for each in self._under_way.values())
        )
        if error is None:
            return None
        await self._record.limit_reached(str(error.details[RUN_LIMIT]))
        return asking.failed(at, error)

    async def _heard(self) -> list[Steered]:
        heard = await self._ear.hear()
        for each in heard:
            told = event.Steered(id=f"steer.{each.sequence}", task_id=self._task, message=each.message)
            await self._teller.tell(told)
        return heard

    async def _rest(self) -> Parked:
        """Write down what is waited with, and tell it."""
        self._reins.check()
        await self._record.settled()
        held = self._shared()
        unanswered = self.state.agent.permissions.unanswered
        await self._teller.flush()
        kept = {"heard": self._ear.after, "told": self._teller.kept}
        parked = Parked.model_validate({"step": self.state.step, "waiting": held, "unanswered": unanswered, **kept})
        await self._record.append(parked)
        await alert(self._hands.bus, self._teller, self.state, parked)
        return parked

    def _waiting(self, at: At) -> Waiting:
        return asking.held(self.state, at) or asking.waiting_of(self.state, at)

    def _shared(self) -> tuple[Waiting, ...]:
        """Return what the function waits with, each agent with what it may spend."""
        state = replace(self.state, promised={**self.state.promised, **self._promised})
        waits = shared(state, tuple(map(self._waiting, self._waits.values())))
        self._promised = {each.call_id: each for each in waits if each.kind == "task"}
        return waits

    async def _failed(self, error: NatscopeError) -> Finished | Parked:
        """End the run: what a function was raised is journaled, and a function that wants help asks for it."""
        return outcome_of(self.state, "failed", None, failure=Failure.of(error))

    def _end(self, branches: Branches) -> Finished | None:
        """Take what a function has ended with, or raise what it has raised; its outcome if it has ended at a limit."""
        failure = branches.failure
        if isinstance(failure, BudgetExhausted) and RUN_LIMIT in failure.details:
            return outcome_of(self.state, "limited", None, limit=str(failure.details[RUN_LIMIT]))
        if not branches.given_up:
            self._replay.end()
        # who raises that another process holds the run has not heard it from the journal
        if isinstance(failure, NatscopeError) and not isinstance(failure, RunFenced):
            raise failure
        if failure is not None:
            raise _failed(failure) from failure
        self._record.happened(ended(self.state, branches.answer))
        return None

    async def _judged(self) -> Finished:
        """Return the outcome of a function that has answered, once hooks and critics have had their say to it."""
        while True:
            answer, limit = self.state.messages[-1], limit_of(self.state)
            if not self._deeds.may_object or not await self._objected(Finish(answer, "stop", limit)):
                break
        answer, limit = self.state.messages[-1], limit_of(self.state)
        return outcome_of(self.state, "limited" if limit else "completed", answer, limit=limit)

    async def _close_calls(self) -> None:
        """Stop what is under way, and the agents that were asked."""
        for at in self._under_way.values():
            await self._effects.forget(at)
        parked = self.state.parked.waiting if self.state.parked is not None else []
        for each in [*parked, *map(self._waiting, self._waits.values())]:
            await children.stop(self._hands.bus, each)


def _given(branches: Branches, entry: Performed) -> list[At]:
    """Give the function what came of a step."""
    if entry.failure is not None:
        return branches.failed(entry.position, entry.failure.error())
    return branches.answered(entry.position, entry.value)


def _failed(failure: BaseException) -> FunctionFailed:
    log.error("an agent's function has failed", exc_info=failure)
    last = traceback.extract_tb(failure.__traceback__)[-1]
    where = f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno}"
    text = f"the agent's function has raised {type(failure).__name__}: {failure}"
    return FunctionFailed(text, details={"where": where})

"""Carrying out tool calls, wherever their tools are served."""

from nats.aio.msg import Msg

from natscope.bus import Bus
from natscope.bus.envelope import read
from natscope.bus.orphans import Orphaned, unless_orphaned
from natscope.bus.streams import CALLS
from natscope.contracts import event, tool
from natscope.contracts.approval import Decision
from natscope.contracts.blocks import FileBlock, ResultState, TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.errors import (
    BodyInvalid,
    DeadlineExceeded,
    NatscopeError,
    Refused,
    RequestConflict,
    Unavailable,
)
from services.agent.asking import insist
from services.agent.delegating import effective
from services.agent.own import NAMES
from services.agent.own_acting import OwnTools
from services.agent.permissions.verdict import Verdict
from services.agent.permitting import is_free, tell_verdict, verdict_on
from services.agent.refusing import refuse
from services.agent.shortening import shortened
from services.agent.state import State, call_id
from services.agent.telling import Teller

RETURN_S = 3.0
"""How long nobody may serve a tool that is to run again because its host died, unless it is the house's."""


class Actor:
    """Asks tool hosts."""

    def __init__(self, bus: Bus, own: OwnTools, *, patience_s: float) -> None:
        self._bus = bus
        self._own = own
        self._patience_s = patience_s

    async def act(self, state: State, index: int, call: ToolUseBlock, teller: Teller) -> tool.Called:
        """Return the outcome of a call. Whatever goes wrong with it is a result that the model reads."""
        call = effective(state, index, call)
        return self.barred(state, index, call) or await self.carry_out(state, index, call, teller)

    def barred(self, state: State, index: int, call: ToolUseBlock) -> tool.Called | None:
        """Return the outcome of a call that must not be carried out with these arguments; None if it may."""
        decided = state.decisions.get(call_id(state, index))
        if decided is not None and decided.verdict != "approve":
            return _by_decision(call, index, decided)
        reason = refuse(state, call)
        if reason is not None:
            return instead(call, index, "error", reason)
        verdict = verdict_on(state, index, call)
        if not is_free(state):
            tell_verdict(self._bus, call, verdict)
        if verdict.behaviour == "deny" or (verdict.behaviour == "ask" and decided is None):
            return _forbidden(call, index, verdict)
        return None

    async def carry_out(self, state: State, index: int, call: ToolUseBlock, teller: Teller) -> tool.Called:
        """Return the outcome of a call that is not barred."""
        if call.name in NAMES:
            return await self._own.act(state, call, index)
        asked = self._asked(state, index, call)
        if not state.started.task.stream:
            return await self._ask(state, index, asked)
        listener = _Listener(teller, state, call.id)
        inbox = self._bus.nc.new_inbox()
        subscription = await self._bus.nc.subscribe(inbox, cb=listener.hear)
        try:
            return await self._ask(state, index, asked.model_copy(update={"deltas_to": inbox}))
        finally:
            await subscription.unsubscribe()

    async def forget(self, state: State, index: int) -> None:
        """Say that the outcome of a call is no longer wanted."""
        id = call_id(state, index)
        await self._bus.tell(tool.CANCELLED, tool.Cancelled(call_id=id), id)

    def _asked(self, state: State, index: int, call: ToolUseBlock) -> tool.Call:
        task = state.started.task
        return tool.Call(
            call_id=call_id(state, index),
            call=call,
            session=task.lane,
            agent=state.agent.name,
            task=task.task_id,
            files=[*(block for block in task.content if isinstance(block, FileBlock)), *state.kept],
            limits=state.agent.tool_limits,
            cell=state.agent.cell,
        )

    async def _ask(self, state: State, index: int, asked: tool.Call) -> tool.Called:
        spec = next((spec for spec in state.tools if spec.name == asked.call.name), None)
        limit = asked.limits.deadline_s or (spec.deadline_s if spec is not None else None)
        deadline = tool.CALL.deadline_s if limit is None else limit + 30
        key = (spec.served_as if spec is not None else None) or asked.call.name
        try:
            called = await self._insist(asked, key, deadline_s=deadline, again=spec is not None and spec.idempotent)
            most = state.agent.limits.tool_result_bytes
            name = asked.call_id
            result = await shortened(called.result, limit=most, blobs=self._bus.blobs, name=name)
        except NatscopeError as error:
            return instead(asked.call, index, *_told(error))
        return called.model_copy(
            update={"result": result.model_copy(update={"metadata": {**result.metadata, "index": index}})}
        )

    async def _insist(self, asked: tool.Call, key: str, *, deadline_s: float, again: bool) -> tool.Called:
        """Return the outcome; `again` says whether the tool is to run again if whoever ran it died."""
        door = tool.door_of(key)
        asking = insist(self._bus, door, asked, key, deadline_s=deadline_s, patience_s=self._patience_s)
        try:
            return await unless_orphaned(self._bus, CALLS, asked.call_id, asking)
        except Orphaned:
            if not again:
                raise
        patience_s = self._patience_s if tool.is_of_the_house(key) else RETURN_S
        return await insist(self._bus, door, asked, key, deadline_s=deadline_s, patience_s=patience_s)


def _told(error: NatscopeError) -> tuple[ResultState, str]:
    match error:
        case RequestConflict():
            return "unknown", f"It was called in another way just before, and may have acted: {error}"
        case BodyInvalid():
            return "error", f"The arguments were refused, nothing ran: {error}"
        case Refused():
            return "error", f"The call was refused, nothing ran: {error}"
        case DeadlineExceeded():
            return "unknown", f"No outcome is known; the tool may or may not have acted: {error}"
        case Unavailable():
            return "error", f"The tool could not be reached: {error}"
        case _:
            return "error", f"The tool failed: {error}"


def not_begun(call: ToolUseBlock, index: int, error: NatscopeError) -> tool.Called:
    """Return the result of a call whose task could not be submitted."""
    return instead(call, index, *_told(error))


def interrupted(call: ToolUseBlock, index: int, printed: str = "") -> tool.Called:
    """Return the result of a call that was stopped from outside, with what it had printed."""
    so_far = f" It had printed:\n{printed}" if printed else ""
    return instead(call, index, "interrupted", f"The call was interrupted.{so_far}")


def instead(call: ToolUseBlock, index: int, state: ResultState, text: str) -> tool.Called:
    """Return the result of a call that was not carried out, or of which nothing is known."""
    result = ToolResultBlock(
        id=call.id, name=call.name, output=[TextBlock(text=text)], state=state, metadata={"index": index}
    )
    return tool.Called(result=result)


def _by_decision(call: ToolUseBlock, index: int, decision: Decision) -> tool.Called:
    """Return the result that a person's decision is."""
    if decision.verdict == "deny":
        why = f": {decision.reason}" if decision.reason else "."
        return instead(call, index, "denied", f"The call was denied{why}")
    result = ToolResultBlock(id=call.id, name=call.name, output=decision.output, metadata={"index": index})
    return tool.Called(result=result)


def _forbidden(call: ToolUseBlock, index: int, verdict: Verdict) -> tool.Called:
    """Return the result of a call that may not be carried out, with the rules under which it might have been."""
    called = instead(call, index, "denied", f"The agent may not call {call.name!r}: {verdict.reason}.")
    rules = [rule.model_dump() for rule in verdict.suggestions]
    told = {**called.result.metadata, "safety": verdict.safety, "rules": rules}
    return called.model_copy(update={"result": called.result.model_copy(update={"metadata": told})})


class _Listener:
    """Turns a tool's progress into a task's events."""

    def __init__(self, teller: Teller, state: State, call: str) -> None:
        self._teller = teller
        self._task = state.started.task.task_id
        self._step = state.step
        self._call = call

    async def hear(self, message: Msg) -> None:
        piece = read(tool.Progress, message.data, where="progress")
        told = event.ToolProgress(
            task_id=self._task, step=self._step, call_id=self._call, stream=piece.stream, text=piece.text
        )
        await self._teller.tell_delta(told)

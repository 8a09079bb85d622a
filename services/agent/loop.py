"""The ReAct loop as a pure state machine: what happened so far decides what to do next.

started ──► AskModel(1) ──reply──► CallTools ──all results──► AskModel(2) ──► … ──reply without calls──► Finish
                                                                  └─ a limit: AskModel(last, without tools) ─► Finish

A reply of no use is told to the model, which may write it again: twice, then it has to answer without tools (see
`reasking`). An agent that declares what its answer looks like ends by calling `finish`; an answer without it is asked
for again in the same way, and at a limit `finish` is the one tool left.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import FileBlock, TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.message import Message
from natscope.contracts.model import FinishReason
from natscope.contracts.run import (
    Compressed,
    Decided,
    Ended,
    Heard,
    Hooked,
    JournalEntry,
    Judged,
    ModelReplied,
    Parked,
    Performed,
    Resumed,
    Started,
    Steered,
    StepEnded,
    ToolReturned,
)
from services.agent import helping, planning
from services.agent.actions import AskModel, CallTools, Compress, Decision, Done, Fail, Finish, Park
from services.agent.compressing import compressed
from services.agent.custom.folding import performed
from services.agent.delegating import child_of, delegates, effective
from services.agent.handing import taken
from services.agent.hooks.folding import hooked
from services.agent.objecting import is_in_vain, judged
from services.agent.open_tasks import listed
from services.agent.own import ACTIVE, FINISH, PLAN, RESET_TOOLS
from services.agent.permitting import verdict_on
from services.agent.reasking import OBJECTION, failed_again, fault_in, given_up, without_tries
from services.agent.refusing import refuse
from services.agent.seats import taken_in
from services.agent.sharing import shared
from services.agent.shortening import files_left_by
from services.agent.state import State, begin, call_id, index_of, open_calls_of, results_id, spent
from services.agent.window import is_full

MAX_STEPS = "max_steps"


def after(state: State, entry: JournalEntry) -> State:
    """Return the state once `entry` has happened."""
    match entry:
        case ModelReplied():
            state = replace(
                state,
                step=entry.step,
                reply=entry,
                results=(),
                decisions={},
                unanswered=False,
                messages=(*without_tries(state), entry.message),
                usage=state.usage + entry.usage,
                cost_usd=state.cost_usd + (entry.cost_usd or 0.0),
                fault=fault_in(state, entry, owes=_owes(state)),
                limit=_limit(state),
                hooked={},
                shaped=0,
                put_off=frozenset(),
                judged=frozenset(),
                takeovers=(),
            )
            return planning.adopted(state) if state.fault is None else state
        case ToolReturned():
            usage, cost_usd = state.usage + entry.usage, state.cost_usd + entry.cost_usd
            state = replace(_awake(state, entry.at), usage=usage, cost_usd=cost_usd, takeovers=())
            state = replace(state, successor=entry.successor or state.successor)
            return _returned(state, entry.result, entry.at)
        case StepEnded():
            state, result = planning.stepped(_awake(state, entry.at), entry)
            return state if result is None else _returned(state, result, entry.at)
        case Performed() | Hooked() | Judged():
            return _from_without(_awake(state, entry.at), entry)
        case Steered() | Heard():
            return _told(_awake(state, entry.at), entry)
        case Compressed():
            return compressed(state, entry)
        case Parked() | Resumed() | Ended():
            return _noted(state, entry)
        case Decided():
            return _decided(state, entry)
        case Started():
            raise ValueError("a run starts once")


def replay(entries: Iterable[JournalEntry]) -> State:
    """Return the state that a whole journal tells.

    Raises:
        ValueError: the journal does not begin with `started`.
    """
    iterator = iter(entries)
    first = next(iterator, None)
    if not isinstance(first, Started):
        raise ValueError("a journal begins with `started`")
    state = begin(first)
    for entry in iterator:
        state = after(state, entry)
    return state


def decide(state: State) -> Decision:
    """Return what to do next."""
    if state.ended is not None:
        return Done(state.ended)
    if state.aborted is not None:
        return Fail(state.aborted)
    if state.reply is None:
        return Compress(0) if is_full(state) else AskModel(1)
    calls = state.reply.message.tool_uses
    open_calls = open_calls_of(state)
    ready = tuple((index, call) for index, call in open_calls if not _waits(state, index, call))
    if ready:
        return CallTools(state.step, ready)
    if open_calls:
        return Park(state.step, waiting_of(state))
    if (failure := planning.failure_of(state)) is not None:
        return Fail(failure)
    if is_in_vain(state):
        trouble = helping.trouble_of(state)
        return Park(state.step, (trouble,)) if trouble else Finish(*_last(state.reply), state.limit or OBJECTION)
    goes_on = bool(calls) or _owes(state) or state.unanswered or state.fault is not None
    if state.limit is not None or not goes_on or (state.agent.output is not None and not state.owes_output):
        return Finish(*_last(state.reply), state.limit)
    if (trouble := helping.trouble_of(state)) is not None:
        return Park(state.step, (trouble,))
    return Compress(state.step) if is_full(state) else AskModel(state.step + 1, _limit(state))


def _last(reply: ModelReplied) -> tuple[Message, FinishReason]:
    return reply.message, reply.finish_reason


def _waits(state: State, index: int, call: ToolUseBlock) -> bool:
    """Return whether somebody has to decide on `call` before it can be gone on with."""
    call = effective(state, index, call)
    decision = state.decisions.get(call_id(state, index))
    if refuse(state, call) is not None:
        return False
    if decision is not None:
        return delegates(call) and decision.verdict == "approve"
    behaviour = verdict_on(state, index, call).behaviour
    return behaviour == "ask" or (behaviour == "allow" and (_is_external(state, call) or delegates(call)))


def waiting_of(state: State) -> tuple[Waiting, ...]:
    """Return the open calls that cannot be carried out here and now, with what each of them waits for."""
    waiting = (_waiting(state, index, call) for index, call in open_calls_of(state) if _waits(state, index, call))
    return shared(state, tuple(each for group in waiting for each in group))


def _waiting(state: State, index: int, call: ToolUseBlock) -> tuple[Waiting, ...]:
    id = call_id(state, index)
    call = effective(state, index, call)
    verdict = verdict_on(state, index, call)
    if delegates(call) and (verdict.behaviour != "ask" or id in state.decisions):
        asked = Waiting(call_id=id, call=call, kind="task", task=child_of(id))
        return planning.waits_of(state) if call.name == PLAN else (asked,)
    if verdict.behaviour == "ask" and not _is_external(state, call):
        told = {"reason": verdict.reason, "rules": verdict.suggestions}
        if call.name == FINISH and state.agent.output is not None:
            told["output_schema"] = state.agent.output.json_schema
        return (Waiting.model_validate({"call_id": id, "call": call, "kind": "approval"} | told),)
    reason = verdict.reason if verdict.behaviour == "ask" else ""
    return (Waiting(call_id=id, call=call, kind="answer", reason=reason),)


def _is_external(state: State, call: ToolUseBlock) -> bool:
    return any(spec.name == call.name and spec.external for spec in state.tools)


def _from_without(state: State, entry: Performed | Hooked | Judged) -> State:
    """Return the state once its own function, hooks or a critic have done something."""
    if isinstance(entry, Judged):
        return judged(state, entry)
    return performed(state, entry) if isinstance(entry, Performed) else hooked(state, entry)


def _noted(state: State, entry: Parked | Resumed | Ended) -> State:
    match entry:
        case Parked():
            put_off = state.put_off.union(each.call_id for each in entry.waiting)
            told = max(state.told, entry.told)
            tasks = {each.call_id: each for each in entry.waiting if each.kind == "task"}
            state = replace(planning.begun(state, entry), parked=entry, put_off=put_off, promised=tasks)
            return replace(state, told=told, takeovers=())
        case Resumed():
            takeovers = (*state.takeovers, state.holder)
            return replace(state, holder=entry.holder, takeovers=takeovers, resumptions=state.resumptions + 1)
        case Ended():
            return replace(state, ended=entry.outcome)


def _told(state: State, entry: Steered | Heard) -> State:
    if isinstance(entry, Heard):
        return taken_in(state, entry)
    files = (block for block in entry.message.content if isinstance(block, FileBlock))
    return replace(
        state,
        messages=(*state.messages, entry.message),
        kept=(*state.kept, *files),
        output=None,
        fault=None,
        objections=None,
        heard=max(state.heard, entry.sequence),
        unanswered=True,
        redirects=state.redirects + entry.redirect,
    )


def _decided(state: State, entry: Decided) -> State:
    if (trouble := helping.trouble_about(state, entry.decision)) is not None:
        state = replace(helping.helped(_awake(state, entry.at), trouble, entry), objections=None, takeovers=())
        reply = helping.answer_in(state, entry)
        return state if reply is None else after(state, reply)
    decisions = {**state.decisions, entry.decision.call_id: entry.decision}
    rules = (*state.rules, *entry.decision.rules)
    state = replace(_awake(state, entry.at), decisions=decisions, rules=rules, takeovers=())
    return planning.rewritten(state, entry)


def _awake(state: State, at: datetime) -> State:
    """Return the state when the run goes on at `at`, if it was waiting."""
    if state.parked is None:
        return state
    return replace(state, parked=None, waited=state.waited + (at - state.parked.at))


def _limit(state: State) -> str | None:
    """Return the limit that makes the next reply the last."""
    if state.step + 1 > state.agent.limits.max_steps:
        return MAX_STEPS
    if (limit := spent(state) or planning.limit_of(state)) is not None:
        return limit
    return given_up(state.fault)


def _owes(state: State) -> bool:
    return state.owes_output or planning.owes_plan(state)


def _returned(state: State, result: ToolResultBlock, at: datetime) -> State:
    """Return the state once a call of the latest reply has its result."""
    calls = state.reply.message.tool_uses if state.reply else []
    state, result = planning.closing(state, result)
    state = replace(state, results=(*state.results, result), tool_calls=state.tool_calls + 1)
    state = _changed(state, result, calls)
    if len(state.results) < len(calls):
        return state
    return taken(replace(state, messages=(*state.messages, _results_message(state, calls, at))))


def _changed(state: State, result: ToolResultBlock, calls: list[ToolUseBlock]) -> State:
    """Return the state as a result has changed it besides being there."""
    state = failed_again(listed(replace(state, kept=(*state.kept, *files_left_by(result))), result), result)
    if result.state != "success":
        return state
    active = result.metadata.get(ACTIVE)
    if result.name == RESET_TOOLS and isinstance(active, list):
        state = replace(state, active=frozenset(map(str, active)))
    if result.name == FINISH and (index := index_of(result)) < len(calls):
        state = replace(state, output=effective(state, index, calls[index]).input)
    return state


def said(state: State, text: str) -> Message:
    """Return a last message with `text`, for a run that ends without one of its own."""
    return Message(
        id=f"{state.started.task.task_id}-{state.step + 1}",
        name=state.agent.name,
        role="assistant",
        content=[TextBlock(text=text)] if text else [],
    )


def _results_message(state: State, calls: list[ToolUseBlock], at: datetime) -> Message:
    order = sorted(state.results, key=index_of)
    return Message(
        id=results_id(state),
        name="tools" if len(calls) != 1 else calls[0].name,
        role="tool",
        content=list(order),
        created_at=at,
    )

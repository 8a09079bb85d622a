"""Asking again: which replies are of no use, what the model is told of them, and what of them it is shown no longer."""

from collections.abc import Iterator
from dataclasses import replace

from natscope.contracts import event
from natscope.contracts.blocks import ContentBlock, ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.message import Message
from natscope.contracts.run import ModelReplied
from services.agent.fault import FAILURES, Fault, Kind, is_empty, key
from services.agent.refusing import why_useless
from services.agent.state import State, index_of, results_id

ARGUMENTS = "arguments"
EMPTY = "empty"
REPEATED = "repeated"
OBJECTION = "objection"
_LIMITS: dict[Kind, str] = {"empty": EMPTY, "repeated": REPEATED, "objection": OBJECTION}

_EMPTY = "Your answer was empty. Answer in words, or call a tool."
_REPEATED = (
    "This call has failed {times} times with the same arguments, and is not carried out again until another one has "
    "succeeded: {call}\nThe last time: {error}\nDo something else, or answer with what you have."
)
_OBJECTION = "This was objected to your answer, which nobody has seen. Answer the task again, better:\n{why}"
_SHOWN = 500


def given_up(fault: Fault | None) -> str | None:
    """Return the limit that is reached when the model is not asked to mend `fault` again."""
    if fault is None or not fault.is_given_up:
        return None
    return _LIMITS.get(fault.kind, ARGUMENTS)


def fault_in(state: State, reply: ModelReplied, *, owes: bool) -> Fault | None:
    """Return what is wrong with a reply that is about to be taken into the state, of an agent that `owes` a call."""
    found = _found(state, reply, owes)
    if found is None:
        return None
    kind, error, calls = found
    barred = frozenset(each for each, times in state.failures.items() if times >= FAILURES)
    return replace(_counted(state.fault, kind, error, reply), calls=calls, barred=barred)


def failed_again(state: State, result: ToolResultBlock) -> State:
    """Return the state with a result of the latest reply counted, if its call has failed."""
    if state.reply is None or (state.fault is not None and index_of(result) in state.fault.calls):
        return state
    if result.state == "success":
        return replace(state, failures={})
    if result.state not in ("error", "denied"):
        return state
    reply = state.reply
    call = reply.message.tool_uses[index_of(result)]
    failures = {**state.failures, key(call): state.failures.get(key(call), 0) + 1}
    state = replace(state, failures=failures)
    if failures[key(call)] < FAILURES or state.fault is not None:
        return state
    said = _REPEATED.format(times=FAILURES, call=key(call)[:_SHOWN], error=text_of(result.output)[:_SHOWN])
    return replace(state, fault=_counted(None, "repeated", said, reply))


def correction(state: State) -> str | None:
    """Return what the model is told of the latest reply besides the results of its calls, and what it has to call."""
    fault = state.fault
    if fault is not None and fault.kind == "objection":
        return _OBJECTION.format(why=fault.errors[-1])
    if fault is None or fault.calls or fault.kind == "output":
        return None
    return _EMPTY if fault.kind == "empty" else fault.errors[-1]


def reasked(state: State, fault: Fault) -> event.Reasked:
    """Return what is told when the model is asked again."""
    return event.Reasked(
        id=f"{state.step}.reasked",
        task_id=state.started.task.task_id,
        step=state.step,
        fault=fault.kind,
        error=fault.errors[-1],
        times=len(fault.errors),
    )


def shown(state: State, talk: list[Message]) -> list[Message]:
    """Return `talk` without a latest reply that says nothing: no provider takes it back."""
    if state.fault is None or state.fault.kind != "empty" or state.reply is None:
        return talk
    return [message for message in talk if message.id != state.reply.message.id]


def without_tries(state: State) -> tuple[Message, ...]:
    """Return the run's messages without what the reply that follows replaces: a faulty one, and what was said of it.

    What was carried out stays, with its result.
    """
    fault, reply = state.fault, state.reply
    if fault is None or reply is None or not (fault.calls or fault.kind in ("output", "empty", "objection")):
        return state.messages
    kept = [_without(fault, reply, message, results_id(state)) for message in state.messages]
    return tuple(message for message in kept if message is not None)


def _without(fault: Fault, reply: ModelReplied, message: Message, results: str) -> Message | None:
    if message.id not in (reply.message.id, results):
        return message
    calls = reply.message.tool_uses
    if len(fault.calls) == len(calls):
        return None
    return message.model_copy(update={"content": list(_carried_out(fault, message.content))})


def _carried_out(fault: Fault, content: list[ContentBlock]) -> Iterator[ContentBlock]:
    place = -1
    for block in content:
        place += isinstance(block, ToolUseBlock)
        wrong = isinstance(block, ToolUseBlock) and place in fault.calls
        if not wrong and not (isinstance(block, ToolResultBlock) and index_of(block) in fault.calls):
            yield block


def _counted(before: Fault | None, kind: Kind, error: str, reply: ModelReplied) -> Fault:
    tokens = reply.usage.input_tokens + reply.usage.output_tokens
    if before is None:
        return Fault(kind, (error,), first_tokens=tokens)
    more = before.more_tokens + tokens
    return Fault(kind, (*before.errors, error), first_tokens=before.first_tokens, more_tokens=more)


def _found(state: State, reply: ModelReplied, owes: bool) -> tuple[Kind, str, frozenset[int]] | None:
    calls = reply.message.tool_uses
    wrong = [(place, *found) for place, call in enumerate(calls) if (found := _wrong(state, reply, call)) is not None]
    if wrong:
        _, kind, error = wrong[0]
        return kind, error, frozenset(place for place, _, _ in wrong)
    if calls:
        return None
    if owes:
        return "output", "the reply called nothing, though it had to", frozenset()
    if is_empty(reply.message.content) and reply.finish_reason != "content_filter":
        return "empty", "the answer was empty", frozenset()
    return None


def _wrong(state: State, reply: ModelReplied, call: ToolUseBlock) -> tuple[Kind, str] | None:
    if reply.finish_reason == "length":
        return "arguments", f"the call of {call.name!r} was cut off by the token limit"
    if not any(spec.name == call.name for spec in state.started.tools):
        return "unknown_tool", f"there is no tool {call.name!r}"
    if (why := why_useless(call)) is not None:
        return "arguments", why
    if state.failures.get(key(call), 0) >= FAILURES:
        return "repeated", f"the call has failed {FAILURES} times: {key(call)[:_SHOWN]}"
    return None

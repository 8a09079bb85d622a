"""Help: a run that cannot go on by itself waits for a person, who answers for the model, edits, retries or aborts."""

from dataclasses import replace

from natscope.contracts.approval import Decision, Tried, Trouble, Waiting
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock
from natscope.contracts.contract import now
from natscope.contracts.errors import Failure, HookRefused, NatscopeError, OutputInvalid, RunPoisoned
from natscope.contracts.message import Content, Message
from natscope.contracts.model import Chatted, Usage
from natscope.contracts.run import Decided, JournalEntry, ModelReplied, Parked
from services.agent.fault import Fault
from services.agent.reasking import given_up, without_tries
from services.agent.state import State

NEEDS_HUMAN = "needs_human"
NOBODY = "time"
"""Who has decided when nobody had until the time was up."""
_WAYS = "Answer for it, change the last message and let it go on, let it try again, or abort."


def may_help(state: State, error: NatscopeError) -> bool:
    """Return whether a run that `error` would end waits for a person instead; its own function may not."""
    wanted = state.agent.on_failure == NEEDS_HUMAN and state.agent.strategy != "custom" and state.aborted is None
    return wanted and not isinstance(error, RunPoisoned | HookRefused)


def trouble_of(state: State) -> Waiting | None:
    """Return what a person is asked when the model cannot mend its replies; None if it is not to be asked for."""
    fault = state.fault
    if fault is None or given_up(fault) is None or state.agent.on_failure != NEEDS_HUMAN or state.limit is not None:
        return None
    told = f"the model was told {len(fault.errors) - 1} times what was wrong, and has not mended it: {fault.errors[-1]}"
    failure = Failure.of(OutputInvalid(told, details={"tier": 3, "fault": fault.kind}))
    return asked_for_help(state, failure, _tried(fault))


def _tried(fault: Fault) -> list[Tried]:
    first, *more = fault.errors
    rules = fault.kind in ("arguments", "output")
    begun = Tried(tier=2, what="rules" if rules else "no rule mends it", error=first)
    return [begun, *(Tried(tier=3, what=f"asked again, {n}", error=each) for n, each in enumerate(more, start=1))]


def asked_for_help(state: State, failure: Failure, tried: list[Tried] | None = None) -> Waiting:
    """Return what a person is asked, with what was tried before."""
    tier = 2 if failure.code == OutputInvalid.code else 1
    tried = tried or [Tried(tier=tier, what=f"asked {state.agent.model!r}", error=failure.message)]
    id = f"{state.started.task.task_id}-h{state.helps}"
    question = f"The agent {state.agent.name!r} cannot go on: {failure.message}. {_WAYS}"
    call = ToolUseBlock(id=id, name=NEEDS_HUMAN, input={"question": question})
    trouble = Trouble(question=question, step=state.step, failure=failure, tried=tried, last=_cleared(state)[-1])
    schema = state.agent.output.json_schema if state.agent.output is not None else None
    told = {"reason": failure.message, "trouble": trouble, "output_schema": schema}
    return Waiting.model_validate({"call_id": id, "call": call, "kind": "needs_human"} | told)


def parked(state: State, waiting: list[Waiting]) -> Parked:
    """Return what is written down of a run that waits: for how long, and what is decided then."""
    if any(each.kind == "needs_human" for each in waiting):
        wait, unanswered = state.agent.needs_human.wait, state.agent.needs_human.unanswered
        if state.left_alone:
            unanswered = "abort"
    else:
        wait, unanswered = state.agent.permissions.wait, state.agent.permissions.unanswered
    asked = any(each.kind != "task" for each in waiting)
    until = now() + wait if wait is not None and asked else None
    return Parked(step=state.step, waiting=waiting, until=until, unanswered=unanswered, heard=state.heard)


def trouble_about(state: State, decision: Decision) -> Trouble | None:
    """Return what a decision helps with; None if it is about a call."""
    waiting = state.parked.waiting if state.parked is not None else []
    return next((each.trouble for each in waiting if each.call_id == decision.call_id), None)


def helped(state: State, trouble: Trouble, entry: Decided) -> State:
    """Return the state once somebody has helped: without the replies that were of no use, and as they decided."""
    decision = entry.decision
    if decision.verdict in ("abort", "deny"):
        said = {"by": entry.by, "reason": decision.reason}
        failure = trouble.failure.model_copy(update={"details": trouble.failure.details | {"aborted": said}})
        return replace(state, aborted=failure)
    messages = _cleared(state)
    if decision.verdict == "edit":
        messages = (*messages[:-1], _edited(messages[-1], decision.output))
    return replace(
        state,
        messages=messages,
        fault=None,
        failures={},
        limit=None,
        helps=state.helps + 1,
        left_alone=state.left_alone or entry.by == NOBODY,
        unanswered=True,
    )


def answer_in(state: State, entry: Decided) -> ModelReplied | None:
    """Return the reply that somebody has given for the model."""
    if entry.decision.verdict != "answer":
        return None
    content = entry.decision.output
    message = Message(
        id=f"{state.started.task.task_id}-{state.step + 1}",
        name=state.agent.name,
        role="assistant",
        content=content,
        metadata={"by": entry.by},
        created_at=entry.at,
    )
    reason = "tool_call" if message.tool_uses else "stop"
    model = f"{NEEDS_HUMAN}:{entry.by}"
    step = state.step + 1
    return ModelReplied(at=entry.at, step=step, message=message, finish_reason=reason, usage=Usage(), model=model)


def told_as_reply(state: State, entry: JournalEntry) -> Chatted | None:
    """Return the reply that `entry` has just given for the model, to be told as one of the model's."""
    reply = state.reply
    if not isinstance(entry, Decided) or reply is None or reply.at != entry.at or entry.decision.verdict != "answer":
        return None
    message, reason = reply.message, reply.finish_reason
    return Chatted(message=message, finish_reason=reason, provider=NEEDS_HUMAN, model=reply.model)


def _cleared(state: State) -> tuple[Message, ...]:
    """Return the run's messages up to the last that the model was given, and could go on from."""
    messages = without_tries(state)
    if state.reply is not None and messages[-1].id == state.reply.message.id:
        return messages[:-1]
    return messages


def _edited(message: Message, content: Content) -> Message:
    """Return `message` with other content; of results, the last one's output, or those that the content names."""
    if message.role != "tool":
        return message.model_copy(update={"content": content})
    named = {block.id: block for block in content if isinstance(block, ToolResultBlock)}
    words = [block for block in content if not isinstance(block, ToolResultBlock)]
    results: list[ToolResultBlock] = []
    for block in message.content:
        if isinstance(block, ToolResultBlock):
            output = named[block.id].output if block.id in named else block.output
            results.append(block.model_copy(update={"output": output}))
    if words and results:
        results[-1] = results[-1].model_copy(update={"output": words})
    return message.model_copy(update={"content": results})

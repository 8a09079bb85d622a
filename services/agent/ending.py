"""How a run ends: its outcome as the state has it, what is told of it, and what its session remembers."""

import time
from collections.abc import Iterator

from opentelemetry.trace import Span

from natscope.bus import Bus
from natscope.contracts import event, memory
from natscope.contracts.errors import Failure
from natscope.contracts.message import Message
from natscope.contracts.run import Heard, ToolReturned
from natscope.contracts.task import Finished, Outcome
from natscope.telemetry import names
from natscope.telemetry.setup import fail_with
from services.agent.asking import insist
from services.agent.compressing import summaries
from services.agent.loop import said
from services.agent.own import answer_text
from services.agent.state import State, index_of

CUT_SHORT = "cut_short"
"""In a message's metadata: it was stopped while it was written."""


def outcome_of(
    state: State, came_to: Outcome, message: Message | None, *, failure: Failure | None = None, limit: str | None = None
) -> Finished:
    """Return the outcome of a run; without a `message` its last words are the latest reply."""
    last = message or (state.reply.message if state.reply is not None else said(state, ""))
    return Finished(
        task_id=state.started.task.task_id,
        agent=state.handed[0] if state.handed else state.agent.name,
        session=state.started.task.lane,
        state=came_to,
        text=last.text if state.output is None else answer_text(state.output),
        message=last,
        output=state.output,
        failure=failure,
        limit=limit,
        usage=state.usage,
        cost_usd=state.cost_usd,
        model_calls=state.step,
        tool_calls=state.tool_calls,
        digest=state.started.digest,
        started_at=state.started.at,
    )


def cut_short(state: State, text: str) -> Message | None:
    """Return what was told of a reply that was stopped while it was written; a function's is its own affair."""
    if not text or state.agent.strategy == "custom":
        return None
    return said(state, text).model_copy(update={"metadata": {CUT_SHORT: True}})


def age_s(state: State) -> float:
    """Return how old a run is in seconds, without the time in which it waited for somebody."""
    age = time.time() - state.started.at.timestamp()
    return max(0.0, age - state.waited.total_seconds())


def end_of(outcome: Finished) -> event.ReplyEnd:
    """Return the last event of a task."""
    return event.ReplyEnd(id="reply_end", task_id=outcome.task_id, state=outcome.state, usage=outcome.usage)


def result_event(task_id: str, entry: ToolReturned) -> event.ToolResult:
    """Return what is told of a result."""
    id = f"{entry.step}.{index_of(entry.result)}.result"
    return event.ToolResult(id=id, task_id=task_id, step=entry.step, result=entry.result, backend=entry.backend)


def heard_event(task_id: str, entry: Heard) -> event.Heard:
    """Return what is told of something that a team has said."""
    return event.Heard(id=f"heard.{entry.hub}.{entry.sequence}", task_id=task_id, hub=entry.hub, message=entry.message)


def limit_reached(task_id: str, limit: str) -> event.LimitReached:
    """Return what is told of a limit."""
    return event.LimitReached(id=f"limit.{limit}", task_id=task_id, limit=limit)


def handed_over(task_id: str, entry: ToolReturned) -> Iterator[event.HandedOver]:
    """Yield what is told of a call that has handed the conversation over, if it has."""
    if entry.successor is not None:
        name, id = entry.successor.agent.name, f"{entry.step}.handed"
        yield event.HandedOver(id=id, task_id=task_id, step=entry.step, agent=name)


def describe(span: Span, outcome: Finished) -> None:
    """Put an outcome on the span of its run."""
    span.set_attribute(names.INPUT_TOKENS, outcome.usage.input_tokens)
    span.set_attribute(names.OUTPUT_TOKENS, outcome.usage.output_tokens)
    if outcome.failure is not None:
        fail_with(span, outcome.failure.code, outcome.failure.message)
    elif outcome.state == "interrupted":
        fail_with(span, "interrupted")


async def remember(bus: Bus, state: State, *, patience_s: float) -> None:
    """Append what the run has said to its session; what is there already is not appended again."""
    task, last = state.started.task, state.ended.message if state.ended is not None else None
    cut = [last] if last is not None and CUT_SHORT in last.metadata else []
    told = [m for m in (*state.messages, *cut, *summaries(state)) if m.content]
    asked = memory.Append(session=task.lane, messages=told, fresh=task.session is None)
    await insist(bus, memory.APPEND, asked, deadline_s=patience_s, patience_s=patience_s)

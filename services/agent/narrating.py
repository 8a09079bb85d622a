"""What is told of each thing that happens in a run, at once or by whoever takes the run over."""

import hashlib
from collections.abc import Iterable, Iterator

from natscope.contracts import event
from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolUseBlock, text_of
from natscope.contracts.event import TaskEvent
from natscope.contracts.message import Message
from natscope.contracts.model import Chatted
from natscope.contracts.run import Compressed, Heard, JournalEntry, Judged, ModelReplied, Parked, Steered
from services.agent import helping
from services.agent.ending import heard_event, limit_reached
from services.agent.judging import judged_event
from services.agent.loop import after
from services.agent.reasking import reasked
from services.agent.state import State, begin
from services.agent.stepping import told_of


def retold(entries: Iterable[JournalEntry]) -> list[TaskEvent]:
    """Return what is told of a whole journal, since the run was parked last: before it parks, all is kept.

    What an agent's own function does is told before it is written down, so that nothing of it can be missing but what
    critics have said of its answer.
    """
    first, *more = entries
    found: list[TaskEvent] = []
    state = begin(first) if first.entry == "started" else None
    if state is None:
        return found
    for entry in more:
        if isinstance(entry, Parked):
            found.clear()
        before, state = state, after(state, entry)
        if state.agent.strategy != "custom" or isinstance(entry, Judged):
            found += told_by(before, entry, state)
    return found


def told_by(before: State, entry: JournalEntry, state: State) -> Iterator[TaskEvent]:
    """Yield what is told of an entry that has led from one state to the next."""
    task = state.started.task.task_id
    match entry:
        case ModelReplied():
            if not before.agent.hooks:
                yield from _asked(before, entry, state)
            yield from replied(task, entry.step, entry.message, entry)
        case Steered():
            yield steered(task, entry)
        case Heard():
            yield heard_event(task, entry)
        case Compressed():
            yield compressed(state, entry)
        case Judged():
            yield judged_event(task, entry)
        case Parked():
            yield from waiting(state, entry)
        case _:
            if (said := helping.told_as_reply(state, entry)) is not None:
                yield from replied(task, state.step, said.message, said)
            yield from told_of(task, entry, state)


def _asked(before: State, entry: ModelReplied, state: State) -> Iterator[TaskEvent]:
    """Yield what is told before a model is asked; hooks may have given the reply instead."""
    task = state.started.task.task_id
    if state.limit is not None:
        yield limit_reached(task, state.limit)
    elif before.fault is not None:
        yield reasked(before, before.fault)
    yield event.ModelCallStart(id=f"{entry.step}.start", task_id=task, step=entry.step, model=before.agent.model)


def replied(task: str, step: int, message: Message, reply: ModelReplied | Chatted) -> Iterator[TaskEvent]:
    """Yield what is told of a whole reply: its blocks, then the end of the call."""
    for index, block in enumerate(message.content):
        id = f"{step}.{index}.end"
        match block:
            case TextBlock():
                yield event.TextEnd(id=id, task_id=task, step=step, block=index, text=block.text)
            case ThinkingBlock():
                yield event.ThinkingEnd(id=id, task_id=task, step=step, block=index, thinking=block.thinking)
            case ToolUseBlock():
                yield event.ToolCallEnd(id=id, task_id=task, step=step, block=index, call=block)
            case _:
                pass
    yield event.ModelCallEnd(
        id=f"{step}.end",
        task_id=task,
        step=step,
        model=reply.model,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
    )


def steered(task: str, entry: Steered) -> event.Steered:
    """Return what is told of a message that was slipped in."""
    return event.Steered(id=f"steer.{entry.sequence}", task_id=task, message=entry.message, redirect=entry.redirect)


def compressed(state: State, entry: Compressed) -> event.Compressed:
    """Return what is told of a summary."""
    text = text_of(entry.summary.content) if entry.summary is not None else ""
    id = f"{state.step}.compressed.{state.compressions}"
    return event.Compressed(id=id, task_id=state.started.task.task_id, step=state.step + 1, summary=text)


def waiting(state: State, parked: Parked) -> Iterator[event.ApprovalNeeded]:
    """Yield what is told of a run that waits for somebody, if it does."""
    asked = [each for each in parked.waiting if each.is_for_somebody]
    if not asked:
        return
    id, until = f"{parked.step}.{len(state.decisions)}.{state.helps}.waiting", parked.until
    if state.agent.strategy == "custom":
        waits = hashlib.sha256(" ".join(each.call_id for each in parked.waiting).encode()).hexdigest()[:16]
        id, until = f"c{waits}.{len(state.decisions)}.waiting", parked.wakes_at
    yield event.ApprovalNeeded(id=id, task_id=state.started.task.task_id, waiting=asked, until=until)

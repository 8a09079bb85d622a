"""What a task waits with, and what was decided about it: the first decision about a call stands."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence

from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.bus.envelope import read
from natscope.bus.journaled import entry_of
from natscope.client import looking
from natscope.contracts import model
from natscope.contracts.approval import DECIDE, Decide, Decision, Waiting
from natscope.contracts.contract import new_id
from natscope.contracts.errors import ArgumentsInvalid, BodyInvalid, DecisionStale, RunFenced
from natscope.contracts.run import JOURNALED, Decided, Ended, JournalEntry, ModelReplied, Parked, Steered

_JOURNAL = JOURNALED.stream or ""
_WANTS = {
    "approval": ("leave", "approve or deny it"),
    "answer": ("an answer", "answer or deny it"),
    "needs_human": ("help", "answer or edit with some output, retry, or abort"),
}


async def waits(bus: Bus, task_id: str) -> list[Waiting]:
    """Return the calls that wait for somebody as a task's journal has them, those of a run that goes on included.

    Raises:
        JournalNewer: the journal is of a later version than this one.
    """
    return waiting_after(await _entries(bus, task_id))


async def waits_of_children(bus: Bus, task_id: str) -> list[Waiting]:
    """Return the calls that wait for somebody in the tasks that a task waits for, and in those that these wait for.

    Raises:
        JournalNewer: a journal is of a later version than this one.
    """
    return [each async for each in _of_children(bus, task_id)]


async def _of_children(bus: Bus, task_id: str) -> AsyncIterator[Waiting]:
    for child in tasks_after(await _entries(bus, task_id)):
        for each in await waits(bus, child):
            yield each.model_copy(update={"child": child})
        async for each in _of_children(bus, child):
            yield each


async def check(bus: Bus, call: Waiting, decision: Decision) -> None:
    """Return if a decision is one that can be made about a call.

    Raises:
        ArgumentsInvalid: it gives an answer of the run that does not fit what its agent declares.
        BodyInvalid: it is not what is waited for.
        ServiceNotRunning: it gives an answer, and no model gateway is there to tell whether it fits.
    """
    if not call.takes(decision):
        wants, remedy = _WANTS[call.kind]
        raise BodyInvalid(f"{call.call_id!r} waits for {wants}, not for {decision.verdict!r}", remedy=remedy)
    for value in call.answers_in(decision):
        schema = call.output_schema or {}
        why = (await bus.ask(model.FIT, model.Fit(json_schema=schema, value=value))).why_not
        if why:
            raise ArgumentsInvalid(
                f"this is no answer of the agent's: {why}",
                remedy=f"give it by `finish`, with what fits {json.dumps(schema, ensure_ascii=False)}",
                details={"why": why, "schema": schema},
            )


async def _entries(bus: Bus, task_id: str) -> list[JournalEntry]:
    """Return what of a task's journal tells what it waits with."""
    subject = JOURNALED.at(task_id)
    last = await looking.last(bus, _JOURNAL, subject)
    if last is None:
        return []
    entry = await _entry(bus, task_id, last)
    if isinstance(entry, Parked | Ended | ModelReplied):
        return [entry]
    return [await _entry(bus, task_id, each) for each in await looking.page(bus, _JOURNAL, subject)]


async def _entry(bus: Bus, task_id: str, message: Msg) -> JournalEntry:
    return entry_of(await bus.envelope.unpack(message.data, message.headers), run=task_id)


def waiting_after(entries: Iterable[JournalEntry]) -> list[Waiting]:
    """Return the calls for somebody that a run has parked with and that nothing has settled since.

    Rules that came with a decision may have settled any of them; what still waits then is parked with again.
    """
    waiting: list[Waiting] = []
    for entry in entries:
        match entry:
            case Parked():
                waiting = [each for each in entry.waiting if each.is_for_somebody]
            case Decided():
                about, rules = entry.decision.call_id, entry.decision.rules
                waiting = [each for each in waiting if each.call_id != about and not rules]
            case ModelReplied() | Ended() | Steered(redirect=True):
                waiting = []
            case _:
                pass
    return waiting


def tasks_after(entries: Iterable[JournalEntry]) -> list[str]:
    """Return the tasks that a run has parked with last, those that have ended since included."""
    tasks: list[str] = []
    for entry in entries:
        match entry:
            case Parked():
                tasks = [each.task for each in entry.waiting if each.task is not None]
            case ModelReplied() | Ended() | Steered(redirect=True):
                tasks = []
            case _:
                pass
    return tasks


async def made(bus: Bus, task_id: str, waiting: Sequence[Waiting]) -> dict[str, str]:
    """Return who has decided on which of the calls that wait."""
    return (await _made(bus, task_id, waiting))[0]


async def publish(bus: Bus, task_id: str, decisions: list[Decision], waiting: Sequence[Waiting], *, by: str) -> None:
    """Publish `decisions` about calls that wait, if none was decided on before; of two at the same time one is first.

    Raises:
        DecisionStale: a call was decided on before; nothing was published.
        BusUnavailable: no acknowledgement; the decisions may or may not stand.
    """
    while True:
        made, last = await _made(bus, task_id, waiting)
        for decision in decisions:
            if decision.call_id in made:
                raise DecisionStale(
                    f"{made[decision.call_id]!r} has decided on {decision.call_id!r} before",
                    remedy=f"`natscope watch --task {task_id}` shows what came of it",
                )
        headers = {"Nats-Expected-Last-Subject-Sequence": str(last)}
        body = Decide(decisions=decisions, by=by)
        try:
            await bus.submit(DECIDE, body, task_id, message_id=new_id(), headers=headers)
        except RunFenced:
            continue
        return


async def _made(bus: Bus, task_id: str, waiting: Sequence[Waiting]) -> tuple[dict[str, str], int]:
    """Return who has decided on which of the calls that wait, and the sequence of the last decision.

    One that does not fit its call is none: the agent passes it over too.
    """
    waits = {each.call_id: each for each in waiting}
    subject = DECIDE.at(task_id)
    made: dict[str, str] = {}
    last = 0
    for message in await looking.page(bus, DECIDE.stream, subject):
        last = looking.sequence_of(message)
        try:
            said = read(Decide, await bus.envelope.unpack(message.data, message.headers), where=subject)
        except BodyInvalid:
            continue
        for decision in said.decisions:
            call = waits.get(decision.call_id)
            if call is not None and call.call_id not in made and await _stands(bus, call, decision):
                made[decision.call_id] = said.by
    return made, last


async def _stands(bus: Bus, call: Waiting, decision: Decision) -> bool:
    try:
        await check(bus, call, decision)
    except BodyInvalid:
        return False
    return True

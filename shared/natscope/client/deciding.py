"""Decisions that were published before: the first one about a call stands, and the next one is told so."""

from natscope.bus.connection import Bus
from natscope.bus.envelope import read
from natscope.client import looking
from natscope.contracts.approval import DECIDE, Decide, Decision, Waiting
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid, DecisionStale, RunFenced


async def publish(bus: Bus, task_id: str, decisions: list[Decision], waiting: list[Waiting], *, by: str) -> None:
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


async def _made(bus: Bus, task_id: str, waiting: list[Waiting]) -> tuple[dict[str, str], int]:
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
            if call is None or not call.takes(decision):
                continue
            made.setdefault(decision.call_id, said.by)
    return made, last

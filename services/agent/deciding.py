"""Decisions about calls that a run waits with, as people and programs have published them."""

import logging

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.envelope import read
from natscope.contracts import model
from natscope.contracts.approval import DECIDE, Decide, Decision, Waiting
from natscope.contracts.contract import now
from natscope.contracts.errors import BodyInvalid, BusUnavailable, Refused, Unavailable
from natscope.contracts.run import Decided, Parked
from services.agent.helping import NOBODY

log = logging.getLogger(__name__)


async def decisions_for(bus: Bus, task_id: str, parked: Parked) -> list[Decided]:
    """Return what was decided about the calls that a parked run waits with; the first decision about a call stands.

    What is about no such call, or does not fit it, is passed over: it is late, was said twice, or is wrong.

    Raises:
        BusUnavailable: the decisions cannot be read.
    """
    waiting = {each.call_id: each for each in parked.waiting if each.is_for_somebody}
    if not waiting:
        return []
    found: dict[str, Decided] = {}
    unclear: set[str] = set()
    for said in await _published(bus, task_id):
        for decision in said.decisions:
            call = waiting.get(decision.call_id)
            if call is None or decision.call_id in found or decision.call_id in unclear:
                continue
            try:
                if await _fits(bus, call, decision):
                    found[decision.call_id] = Decided(decision=decision, by=said.by)
            except Unavailable as error:
                # a later decision must not come before this one: both are looked at again
                unclear.add(decision.call_id)
                log.warning("a decision is looked at later", extra={"task": task_id, "reason": error.message})
    for call_id, call in waiting.items():
        until = call.until or parked.until
        if until is not None and now() >= until:
            found.setdefault(call_id, Decided(decision=_unanswered(call, parked), by=NOBODY))
    return list(found.values())


async def _fits(bus: Bus, call: Waiting, decision: Decision) -> bool:
    if not call.takes(decision):
        return False
    for value in call.answers_in(decision):
        try:
            fitted = await bus.ask(model.FIT, model.Fit(json_schema=call.output_schema or {}, value=value))
        except Refused as error:
            log.warning("an answer cannot be held to its schema", extra={"reason": error.message})
            return False
        if fitted.why_not:
            log.warning("a decision is passed over", extra={"call": call.call_id, "reason": fitted.why_not})
            return False
    return True


def _unanswered(call: Waiting, parked: Parked) -> Decision:
    verdict = parked.unanswered if call.kind != "answer" else "deny"
    return Decision(call_id=call.call_id, verdict=verdict, reason="nobody has decided in time")


async def _published(bus: Bus, task_id: str) -> list[Decide]:
    subject = DECIDE.at(task_id)
    found: list[Decide] = []
    sequence = 1
    while True:
        try:
            message = await bus.js.get_msg(DECIDE.stream, seq=sequence, subject=subject, next=True, direct=True)
        except js_errors.NotFoundError:
            return found
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"the decisions about {task_id!r} cannot be read: {error!r}") from error
        sequence = int(message.seq or 0) + 1
        try:
            data = await bus.envelope.unpack(message.data or b"", message.headers)
            found.append(read(Decide, data, where=subject))
        except BodyInvalid as error:
            log.warning("a decision is passed over", extra={"task": task_id, "reason": error.message})

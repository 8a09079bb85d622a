"""Outcomes of tasks that had no run: those that could not begin, were taken back before, or are buried."""

import logging

from natscope.bus import Bus
from natscope.bus.ledger import latest
from natscope.contracts import event
from natscope.contracts.errors import Failure, NatscopeError, RunFenced, TaskConflict
from natscope.contracts.run import JOURNALED
from natscope.contracts.task import BURIED, FINISHED, Buried, Finished
from services.agent.ending import end_of
from services.agent.intake import Task
from services.agent.telling import Teller

log = logging.getLogger(__name__)


async def record(bus: Bus, outcome: Finished) -> None:
    """Record an outcome; the first one of a task stands."""
    try:
        await bus.record(FINISHED, outcome, outcome.task_id, expect_last=0)
    except RunFenced:
        log.debug("the outcome was recorded before", extra={"task": outcome.task_id})


async def never_began(bus: Bus, task: Task, error: NatscopeError) -> Finished:
    """End a task whose run cannot begin."""
    outcome = _outcome(task, failure=Failure.of(error))
    await _announce(bus, outcome)
    return outcome


async def take_back(bus: Bus, task: Task, reason: str) -> bool:
    """End a task as interrupted that has not begun; whether it had not. Its session is not told of it.

    Raises:
        BusUnavailable: it may have ended, or not.
    """
    if await latest(bus, JOURNALED.stream or "", JOURNALED.at(task.id)) is not None:
        return False
    await _announce(bus, _outcome(task), event.Interrupted(id="interrupted", task_id=task.id, reason=reason))
    return True


async def bury(bus: Bus, task_id: str, subject: str, body: bytes, error: NatscopeError, deliveries: int) -> None:
    """Put a task that cannot be carried out into the dead-letter stream; the outcome of its id, if any, stands."""
    failure = Failure.of(error)
    if not isinstance(error, TaskConflict):
        agent = subject.split(".")[2]
        await _announce(bus, Finished(task_id=task_id, agent=agent, session=task_id, state="failed", failure=failure))
    buried = Buried(
        task_id=task_id, subject=subject, failure=failure, deliveries=deliveries, body=body.decode(errors="replace")
    )
    await bus.record(BURIED, buried, task_id)


def _outcome(task: Task, *, failure: Failure | None = None) -> Finished:
    return Finished(
        task_id=task.id,
        agent=task.agent,
        session=task.submit.lane,
        state="failed" if failure is not None else "interrupted",
        failure=failure,
        digest=task.digest,
    )


async def _announce(bus: Bus, outcome: Finished, *before: event.TaskEvent) -> None:
    """Tell the end of a task that had no run."""
    teller = Teller(bus, outcome.task_id)
    await teller.look_back(after=0)
    for told in (*before, end_of(outcome)):
        await teller.tell(told)
    await teller.flush()
    await record(bus, outcome)

"""Telling that a run waits for somebody: to the tasks that wait for it, and to whoever follows it."""

import logging

from natscope.bus import Bus
from natscope.contracts import event
from natscope.contracts.errors import BusUnavailable
from natscope.contracts.run import Parked
from services.agent.narrating import waiting
from services.agent.state import State
from services.agent.telling import Teller

log = logging.getLogger(__name__)


async def alert(bus: Bus, teller: Teller, state: State, parked: Parked) -> None:
    """Tell it, unless it was told; the run's own event comes last, so that where it is the others are too."""
    for told in waiting(state, parked):
        if not teller.has_told(told):
            await _tell_upward(bus, state, told)
            await teller.tell(told)


async def alert_again(bus: Bus, teller: Teller, state: State, parked: Parked) -> None:
    """Tell it if whoever has parked the run died before it could."""
    if any(waiting(state, parked)):
        await teller.look_back(after=state.told)
        await alert(bus, teller, state, parked)
        await teller.flush()


async def _tell_upward(bus: Bus, state: State, told: event.ApprovalNeeded) -> None:
    task = state.started.task
    for each in task.awaited_by:
        above = Teller(bus, each)
        calls = [call.model_copy(update={"child": task.task_id}) for call in told.waiting]
        said = event.ChildWaits(
            id=f"{task.task_id}.{told.id}",
            task_id=each,
            agent=state.agent.name,
            child=task.task_id,
            waiting=calls,
            until=told.until,
        )
        try:
            await above.tell(said)
            await above.flush()
        except BusUnavailable as error:
            log.warning("a task does not hear that one it asked waits", extra={"task": each, "reason": error.message})

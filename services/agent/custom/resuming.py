"""What has come, while nobody held it, of the steps with which a run of a function waits."""

from natscope.bus import Bus
from natscope.contracts.contract import now
from natscope.contracts.run import Parked, Performed
from services.agent.children import outcome_of
from services.agent.custom.asking import answered, done, step_of
from services.agent.state import State


async def come_of(bus: Bus, state: State) -> list[Performed]:
    """Return what other agents have answered meanwhile, and which sleeps are over."""
    if state.parked is None or state.agent.strategy != "custom":
        return []
    found: list[Performed] = []
    for each in state.parked.waiting:
        if each.kind == "time" and each.until is not None and now() >= each.until:
            found.append(done(step_of(each), None))
        outcome = await outcome_of(bus, each) if each.kind == "task" else None
        if outcome is not None:
            found.append(answered(step_of(each), outcome))
    return found


def is_time_up(parked: Parked) -> bool:
    """Return whether a sleep of a parked run is over."""
    return any(each.kind == "time" and each.until is not None and now() >= each.until for each in parked.waiting)

"""What tasks that a run waits for may spend: together no more than the run has left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from natscope.contracts.approval import Waiting
from services.agent.delegating import delegates
from services.agent.state import State

LEAST_USD = 1e-6
FAIR = 0.5
"""What may begin beside others waits until it would get at least this part of what each of them was promised."""


@dataclass(frozen=True)
class Left:
    """What a run has left; None: as much as it wants."""

    tokens: int | None
    usd: float | None

    def shared(self, among: int) -> "Left":
        """Return an equal share of it."""
        tokens = None if self.tokens is None else max(1, self.tokens // among)
        return Left(tokens, None if self.usd is None else max(LEAST_USD, self.usd / among))


def left(state: State, promised: Iterable[Waiting] = ()) -> Left:
    """Return what the run has left besides what was promised to tasks that are under way."""
    limits, usage, promises = state.agent.limits, state.usage, list(promised)
    used, cost = usage.input_tokens + usage.output_tokens, state.cost_usd
    tokens = None if limits.tokens is None else limits.tokens - used - sum(each.tokens or 0 for each in promises)
    usd = None if limits.usd is None else limits.usd - cost - sum(each.usd or 0.0 for each in promises)
    return Left(tokens, usd)


def promised(state: State, waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return those of the tasks that were promised something before, as the journal has them."""
    return [state.promised[each.call_id] for each in waiting if each.call_id in state.promised]


def shared(state: State, waiting: tuple[Waiting, ...]) -> tuple[Waiting, ...]:
    """Return what the run waits with, each task with what it may spend.

    What was promised to a task stays; what is left is shared equally among those that begin now, and calls that are
    for other agents and still wait for leave.
    """
    limits = state.agent.limits
    if limits.tokens is None and limits.usd is None:
        return waiting
    known = {each.call_id: each for each in promised(state, waiting)}
    new = [each for each in waiting if each.call_id not in known and (each.kind == "task" or delegates(each.call))]
    share = left(state, known.values()).shared(max(1, len(new)))
    given = {"tokens": share.tokens, "usd": share.usd}
    return tuple(
        known.get(each.call_id) or (each.model_copy(update=given) if each.kind == "task" else each) for each in waiting
    )


def has_enough(state: State, under_way: Sequence[Waiting], ready: int) -> bool:
    """Return whether so many more may begin beside tasks that are under way, and that may leave more for them."""
    there = promised(state, under_way)
    if not there:
        return True
    share = left(state, there).shared(max(1, ready))
    tokens = share.tokens is None or share.tokens >= FAIR * min(each.tokens or 0 for each in there)
    return tokens and (share.usd is None or share.usd >= FAIR * min(each.usd or 0.0 for each in there))

"""What a page of the books has to do: who waits for room, what is to be written down, and what one write changes."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from services.model_gateway.accounting.fitting import Grant, Need, Wall, put_back
from services.model_gateway.accounting.rules import Holding
from services.model_gateway.accounting.sheet import NOTHING, Amount, Sheet, Used
from services.model_gateway.accounting.spares import Spare


@dataclass(slots=True, eq=False)
class Asking:
    """Somebody waits for room."""

    need: Callable[[], Need]
    answer: "asyncio.Future[Grant]"
    budget_until: float
    """How long to wait for reserved money or tokens to come back; a time of the loop."""
    busy_until: float
    """How long to wait for a running call to end."""

    def until(self, wall: Wall) -> float:
        """Return how long to wait for `wall` to give way; 0: not at all."""
        if wall.kind == "budget" and not wall.hopeless:
            return self.budget_until
        return self.busy_until if wall.kind == "concurrency" else 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that has happened and is to be written down."""

    used: Used | None = None
    returned: Grant | None = None


@dataclass(slots=True)
class Draft:
    """What one write is to change."""

    number: int
    entries: list[Entry]
    granted: list[tuple[Asking, Grant]] = field(default_factory=list[tuple[Asking, Grant]])
    spares: list[Spare] = field(default_factory=list[Spare])
    held: Amount = NOTHING
    """What the process holds then."""
    counted: Used = field(default_factory=Used)
    """All that it has counted then."""


def returned(entries: Iterable[Entry], sheet: Sheet, holding: Holding) -> Amount:
    """Give the limits on `sheet` back what is not needed any more, and return how much is held no more."""
    amount = NOTHING
    for entry in entries:
        if entry.returned is not None:
            amount += entry.returned.amount
            put_back(sheet, holding, entry.returned, entry.used)
    return amount

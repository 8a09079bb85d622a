"""Grants taken ahead of the calls that will need them, so that a call need not wait until its own is written."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import NamedTuple

from services.model_gateway.accounting.fitting import Grant, Need, fit, has_plenty, take
from services.model_gateway.accounting.rules import Holding
from services.model_gateway.accounting.sheet import Held, Sheet

AHEAD_S = 0.05
"""Grants are taken ahead only for calls that follow each other this soon, and given back when none comes as long."""
LATE_S = 0.05
"""While grants are there for the next calls, nobody waits for what a settled call gives back."""
FEW = 2
"""Where more wait for one write they share it, and nothing is taken ahead."""
MOST = 32
"""Grants ahead, of one process on one account."""


class Spare(NamedTuple):
    """A grant that nobody uses yet, and for what it was taken."""

    need: Need
    grant: Grant


class Spares:
    """What one page holds ahead."""

    def __init__(self, kept_s: float) -> None:
        self.kept_s = kept_s
        self._spares: list[Spare] = []
        self._last: Need | None = None
        self._asked_at = -inf
        self._is_brisk = False
        self._asked = 0

    def __bool__(self) -> bool:
        return bool(self._spares)

    def ask(self, need: Need, now: float) -> Grant | None:
        """Return a grant that covers `need`, if there is one."""
        self._is_brisk = now - self._asked_at < self.kept_s
        self._asked_at, self._last = now, need
        self._asked += 1
        for place, spare in enumerate(self._spares):
            if _covers(spare, need):
                del self._spares[place]
                return replace(spare.grant, output_tokens=need.output_tokens)
        return None

    def ahead(self, sheet: Sheet, mine: Held, holding: Holding, now: float) -> list[Spare]:
        """Take from `sheet` what the next calls may need, and return it: only where there is plenty for everybody."""
        if not self._is_brisk or self._last is None or self.is_over(now):
            return []
        need = _roomy(self._last)
        found: list[Spare] = []
        for _ in range(min(MOST, 2 * self._asked) - len(self._spares)):
            grant = fit(sheet, holding, need)
            if not isinstance(grant, Grant) or not has_plenty(sheet, holding, grant):
                break
            mine.amount += grant.amount
            take(sheet, holding, grant)
            found.append(Spare(need, grant))
        return found

    def keep(self, spares: Sequence[Spare]) -> None:
        """Hold `spares` from now on: they are written."""
        self._asked = 0
        self._spares += spares

    def is_over(self, now: float) -> bool:
        """Return whether no call has come for so long that nothing is held ahead any more."""
        return now - self._asked_at >= self.kept_s

    def drop(self) -> list[Grant]:
        """Hold nothing ahead for now; return what is to be given back."""
        spares, self._spares = self._spares, []
        return [spare.grant for spare in spares]

    def end(self) -> list[Grant]:
        """Hold nothing ahead until calls follow each other again; return what is to be given back."""
        self._asked_at = -inf
        return self.drop()


def _roomy(need: Need) -> Need:
    """Return what also covers a call with a prompt up to twice as long."""
    nanos = None if need.input_nanos is None else 2 * need.input_nanos
    return replace(need, input_tokens=2 * need.input_tokens, input_nanos=nanos)


def _covers(spare: Spare, need: Need) -> bool:
    amount, wanted = spare.grant.amount, need.costing(need.output_tokens)
    return (
        (spare.need.input_nanos is None) == (need.input_nanos is None)
        and spare.grant.output_tokens >= need.output_tokens
        and amount.tokens >= wanted.tokens
        and amount.nanos >= wanted.nanos
        and spare.grant.paced_tokens >= need.input_tokens + need.least_output_tokens
    )

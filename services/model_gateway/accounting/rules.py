"""What may be used: budgets and limits as the models file says them, found by scope and name."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from natscope.contracts.model import Scope

Period = Literal["hour", "day", "month", "ever"]
Count = Annotated[int, Field(gt=0)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: Scope
    name: Annotated[str, Field(min_length=1)] | None = None
    """Whom it holds for; None: each one of the scope has its own. A named rule stands instead of those without a name.
    A model is called `provider/model`, by the provider's name in the file; asks without a tenant are of `default`."""


class BudgetEntry(_Rule):
    """What may be spent in a period. It is never passed, however many gateways run."""

    per: Period = "ever"
    """Calendar periods in UTC. `ever`: what was not used for forty days is forgotten."""
    usd: Annotated[float, Field(gt=0)] | None = None
    tokens: Count | None = None
    unpriced: Literal["refuse", "pass"] = "refuse"
    """Whether models whose price is not known may be asked under a budget in money."""

    @model_validator(mode="after")
    def _says_something(self) -> "BudgetEntry":
        if self.usd is None and self.tokens is None:
            raise ValueError("a budget needs `usd`, `tokens`, or both")
        return self

    @property
    def nanos(self) -> int | None:
        """The money in nano-dollars."""
        return None if self.usd is None else round(self.usd * 1_000_000_000)


class LimitEntry(_Rule):
    """How fast and how much at a time something may be used; all gateways together."""

    requests_per_minute: Count | None = None
    """As many may come at once; they fill up again over a minute."""
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "LimitEntry":
        if self.requests_per_minute is None and self.tokens_per_minute is None and self.concurrency is None:
            raise ValueError("a limit needs `requests_per_minute`, `tokens_per_minute` or `concurrency`")
        return self


@dataclass(frozen=True, slots=True)
class Holding:
    """The rules that hold for one account."""

    budgets: tuple[BudgetEntry, ...] = ()
    limits: tuple[LimitEntry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.budgets or self.limits)


NONE = Holding()


class Rules:
    """All rules in force."""

    def __init__(self, budgets: Iterable[BudgetEntry] = (), limits: Iterable[LimitEntry] = ()) -> None:
        self._named: dict[tuple[Scope, str | None], Holding] = {}
        for budget in budgets:
            found = self._named.get((budget.scope, budget.name), NONE)
            self._named[budget.scope, budget.name] = Holding((*found.budgets, budget), found.limits)
        for limit in limits:
            found = self._named.get((limit.scope, limit.name), NONE)
            self._named[limit.scope, limit.name] = Holding(found.budgets, (*found.limits, limit))

    def of(self, scope: Scope, name: str) -> Holding:
        """Return what holds for `name`: budgets and limits are looked up apart, a name before none."""
        if not self._named:
            return NONE
        own, each = self._named.get((scope, name), NONE), self._named.get((scope, None), NONE)
        if not own:
            return each
        return Holding(own.budgets or each.budgets, own.limits or each.limits)

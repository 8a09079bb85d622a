"""Whether what a call may cost fits an account's budgets and limits, and what stands in the way if not."""

from dataclasses import dataclass
from math import ceil, floor, inf
from typing import Literal

from services.model_gateway.accounting.rules import BudgetEntry, Holding, LimitEntry
from services.model_gateway.accounting.sheet import Amount, Sheet, Used

SHARE = 4
"""An answer whose length nobody asked for may take up to this part of what is left, so that others find room too."""
PLENTY = 64
"""Where not so many more calls like one would fit, nothing is taken ahead."""


@dataclass(frozen=True, slots=True)
class Need:
    """The most a call may cost."""

    input_tokens: int
    output_tokens: int
    """The longest answer."""
    least_output_tokens: int
    """A shorter answer than this would be of no use; less than `output_tokens` only where nobody asked for a length."""
    input_nanos: int | None = None
    """None: the price is not known."""
    nanos_per_output_token: float = 0.0

    def costing(self, output_tokens: int) -> Amount:
        """Return what it costs with an answer of that length."""
        nanos = (self.input_nanos or 0) + ceil(output_tokens * self.nanos_per_output_token)
        return Amount(self.input_tokens + output_tokens, nanos, 1)


@dataclass(frozen=True, slots=True)
class Grant:
    """What was taken for a call."""

    amount: Amount
    output_tokens: int
    """How long its answer may become."""
    paced_tokens: int = 0
    """What it takes of a limit of tokens a minute; an answer whose length nobody asked for counts when it is there."""


@dataclass(frozen=True, slots=True)
class Wall:
    """What stands in the way."""

    rule: BudgetEntry | LimitEntry
    kind: Literal["budget", "unpriced", "requests", "tokens", "concurrency"]
    spent: Amount
    reserved: Amount
    since: int = 0
    """When the budget's period began."""
    hopeless: bool = True
    """Not even the return of everything that is reserved would make room."""
    retry_after_s: float | None = None


def fit(sheet: Sheet, holding: Holding, need: Need) -> Grant | Wall:
    """Return what `need` may take of an account whose periods have turned and whose limits have grown back."""
    reserved = sheet.reserved()
    room: float = inf
    for budget in holding.budgets:
        left = _room(sheet, budget, need, reserved)
        if isinstance(left, Wall):
            return left
        room = min(room, left)
    output = need.output_tokens
    if room < inf:
        output = min(output, max(need.least_output_tokens, floor(room / SHARE)))
    paced = need.input_tokens + need.least_output_tokens
    for limit in holding.limits:
        wall = _limited(sheet, limit, paced, reserved)
        if wall is not None:
            return wall
    return Grant(need.costing(output), output, paced)


def has_plenty(sheet: Sheet, holding: Holding, grant: Grant) -> bool:
    """Return whether many more such grants would fit, and half of each limit is left."""
    reserved = sheet.reserved()
    for budget in holding.budgets:
        used = sheet.used[budget.per]
        if budget.tokens is not None and used.tokens + reserved.tokens + PLENTY * grant.amount.tokens > budget.tokens:
            return False
        if budget.nanos is not None and used.nanos + reserved.nanos + PLENTY * grant.amount.nanos > budget.nanos:
            return False
    for limit in holding.limits:
        for most, taken, each in (
            (limit.concurrency, reserved.calls, 1),
            (limit.requests_per_minute, sheet.requests, 1),
            (limit.tokens_per_minute, sheet.tokens, grant.paced_tokens),
        ):
            if most is not None and taken + max(PLENTY * each, most / 2) > most:
                return False
    return True


def take(sheet: Sheet, holding: Holding, grant: Grant) -> None:
    """Take a grant's part of the limits; what is reserved is noted elsewhere, as a sum."""
    if holding.limits:
        sheet.requests += 1
        sheet.tokens += grant.paced_tokens


def put_back(sheet: Sheet, holding: Holding, grant: Grant, used: Used | None) -> None:
    """Give back of the limits what a call took and did not use; without `used` it was not made at all."""
    if holding.limits:
        sheet.requests = max(0.0, sheet.requests - (1 if used is None else 0))
        sheet.tokens = max(0.0, sheet.tokens - grant.paced_tokens + (0 if used is None else used.tokens))


def grow(sheet: Sheet, holding: Holding, now: float) -> None:
    """Turn the periods and let the limits grow back until `now`."""
    sheet.turn(now)
    if holding.limits:
        sheet.grow(
            now,
            requests_per_minute=max(limit.requests_per_minute or 0 for limit in holding.limits),
            tokens_per_minute=max(limit.tokens_per_minute or 0 for limit in holding.limits),
        )


def _room(sheet: Sheet, budget: BudgetEntry, need: Need, reserved: Amount) -> float | Wall:
    """Return how many tokens of an answer the budget has room for."""
    used = sheet.used[budget.per]
    spent = Amount(used.tokens, used.nanos, used.calls)
    nanos = budget.nanos
    if nanos is not None and need.input_nanos is None and budget.unpriced == "refuse":
        return Wall(budget, "unpriced", spent, reserved, used.since)
    now, then = inf, inf
    if budget.tokens is not None:
        then = budget.tokens - spent.tokens - need.input_tokens
        now = then - reserved.tokens
    if nanos is not None and need.input_nanos is not None:
        left = nanos - spent.nanos - need.input_nanos
        then = min(then, _affordable(left, need.nanos_per_output_token))
        now = min(now, _affordable(left - reserved.nanos, need.nanos_per_output_token))
    if now >= need.least_output_tokens:
        return now
    return Wall(budget, "budget", spent, reserved, used.since, hopeless=then < need.least_output_tokens)


def _affordable(nanos: int, each: float) -> float:
    if nanos < 0:
        return -1
    return inf if each <= 0 else nanos // each


def _limited(sheet: Sheet, limit: LimitEntry, paced_tokens: int, reserved: Amount) -> Wall | None:
    spent = Amount(round(sheet.tokens), 0, round(sheet.requests))
    if limit.concurrency is not None and reserved.calls >= limit.concurrency:
        return Wall(limit, "concurrency", spent, reserved, hopeless=False)
    requests, tokens = limit.requests_per_minute, limit.tokens_per_minute
    if requests is not None and sheet.requests + 1 > requests + 1e-9:
        wait = (sheet.requests + 1 - requests) * 60 / requests
        return Wall(limit, "requests", spent, reserved, retry_after_s=wait)
    if tokens is not None:
        over = sheet.tokens + min(paced_tokens, tokens) - tokens
        if over > 1e-6:
            return Wall(limit, "tokens", spent, reserved, retry_after_s=over * 60 / tokens)
    return None

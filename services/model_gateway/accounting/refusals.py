"""What an asker is told when a budget or a limit stands in the way."""

from pydantic import JsonValue

from natscope.contracts.errors import BudgetExhausted, NatscopeError, RateLimited
from natscope.contracts.model import Scope
from services.model_gateway.accounting.fitting import Wall
from services.model_gateway.accounting.rules import BudgetEntry, LimitEntry
from services.model_gateway.accounting.sheet import ends

BUSY_S = 1.0
"""When to ask again where nobody can know when a running call ends."""


def refusal(scope: Scope, name: str, wall: Wall) -> NatscopeError:
    """Return the error for `wall`, on the account `name`."""
    if isinstance(wall.rule, BudgetEntry):
        return _exhausted(scope, name, wall.rule, wall)
    return _limited(scope, name, wall.rule, wall)


def _exhausted(scope: Scope, name: str, budget: BudgetEntry, wall: Wall) -> BudgetExhausted:
    resets = ends(budget.per, wall.since)
    details: dict[str, JsonValue] = {
        "scope": scope,
        "name": name,
        "period": budget.per,
        "spent_tokens": wall.spent.tokens,
        "spent_usd": wall.spent.nanos / 1e9,
        "reserved_tokens": wall.reserved.tokens,
        "reserved_usd": wall.reserved.nanos / 1e9,
        "budget_tokens": budget.tokens,
        "budget_usd": budget.usd,
        "resets_at": resets.isoformat() if resets else None,
        "hopeless": wall.hopeless,
    }
    if wall.kind == "unpriced":
        return BudgetExhausted(
            f"the budget of {scope} {name!r} is in money, and the price of the model is not known",
            remedy="give the target a `price` in the models file, or the budget `unpriced: pass`",
            details=details,
        )
    per = "" if budget.per == "ever" else f" per {budget.per}"
    until = f"; it begins anew at {resets:%Y-%m-%d %H:%M} UTC" if resets else ""
    remedy = "raise it in the models file" if wall.hopeless else "ask again when running calls have ended"
    return BudgetExhausted(
        f"the budget of {scope} {name!r} ({_told(budget)}{per}) has no room for this: {_amounts(budget, wall)}{until}",
        remedy=remedy,
        details=details,
    )


def _told(budget: BudgetEntry) -> str:
    parts = [f"${budget.usd:g}" if budget.usd is not None else "", f"{budget.tokens} tokens" if budget.tokens else ""]
    return " and ".join(part for part in parts if part)


def _amounts(budget: BudgetEntry, wall: Wall) -> str:
    parts: list[str] = []
    if budget.usd is not None:
        parts.append(f"${wall.spent.nanos / 1e9:.6g} spent and ${wall.reserved.nanos / 1e9:.6g} reserved")
    if budget.tokens is not None:
        parts.append(f"{wall.spent.tokens} tokens used and {wall.reserved.tokens} reserved")
    return ", ".join(parts)


def _limited(scope: Scope, name: str, limit: LimitEntry, wall: Wall) -> RateLimited:
    said = {
        "requests": f"{limit.requests_per_minute} requests a minute",
        "tokens": f"{limit.tokens_per_minute} tokens a minute",
        "concurrency": f"{limit.concurrency} calls at a time",
    }[wall.kind]
    wait = BUSY_S if wall.retry_after_s is None else wall.retry_after_s
    return RateLimited(
        f"the limit of {scope} {name!r} is reached: {said}",
        remedy=f"ask again in {wait:.1f} s",
        details={"scope": scope, "name": name, "limit": wall.kind, "retry_after_s": round(wait, 3)},
    )


def may_pass(error: NatscopeError) -> bool:
    """Return whether the end of running calls may make room for what was refused by `error`."""
    return error.details.get("hopeless") is False or error.details.get("limit") == "concurrency"

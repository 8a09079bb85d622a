"""Tells how an account stands."""

from natscope.contracts.model import Account, Scope
from services.model_gateway.accounting.rules import BudgetEntry, Holding
from services.model_gateway.accounting.sheet import Sheet, ends


def account_of(scope: Scope, sheet: Sheet, holding: Holding) -> Account:
    """Return what a sheet says: in the period of its tightest budget, or in all if it has none."""
    budget = max(holding.budgets, key=lambda each: _share(sheet, each), default=None)
    period = budget.per if budget else "ever"
    used, reserved = sheet.used[period], sheet.reserved()
    return Account(
        scope=scope,
        name=sheet.name,
        calls=used.calls,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cost_usd=used.nanos / 1e9,
        unpriced_calls=used.unpriced,
        reserved_tokens=reserved.tokens,
        reserved_usd=reserved.nanos / 1e9,
        running=reserved.calls,
        budget_tokens=budget.tokens if budget else None,
        budget_usd=budget.usd if budget else None,
        period=period,
        resets_at=ends(period, used.since),
    )


def _share(sheet: Sheet, budget: BudgetEntry) -> float:
    """Return which part of a budget is used."""
    used = sheet.used[budget.per]
    of_tokens = used.tokens / budget.tokens if budget.tokens else 0.0
    of_money = used.nanos / budget.nanos if budget.nanos else 0.0
    return max(of_tokens, of_money)

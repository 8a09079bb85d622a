"""Models and what was used of them, as tables."""

import io
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from natscope.cli.spending import models_table, usage_table
from natscope.contracts.model import Account, ModelInfo, Price

KNOWN = ModelInfo(
    alias="careful",
    provider="openai",
    model="gpt-5",
    context_size=400_000,
    modalities=["text", "image"],
    price=Price(input=1.25, output=10),
    fallbacks=["anthropic/claude-sonnet-5"],
)
BARE = ModelInfo(alias="near", purpose="embedding", provider="x", model="e-1", ready=False, remedy="set X_KEY")


def drawn(table: Table) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


class TestModels:
    def test_of_each_all_that_is_known_is_told(self) -> None:
        assert drawn(models_table([KNOWN, BARE])) == [
            "model for runs window takes $/M in, out ready",
            "careful chat openai/gpt-5 400,000 text image 1.25, 10 yes, then anthropic/claude-sonnet-5",
            "near embedding x/e-1 ? ? ? no: set X_KEY",
        ]


class TestUsage:
    def test_an_account_without_a_budget_has_no_end(self) -> None:
        account = Account(scope="agent", name="ann", calls=3, input_tokens=1200, output_tokens=80, cost_usd=0.0123)
        assert drawn(usage_table("agent", [account])) == [
            "agent calls tokens in out $ used $ left left renewed",
            "ann 3 1,200 80 0.0123 - - never",
        ]

    def test_what_is_reserved_is_not_left(self) -> None:
        account = Account(
            scope="tenant",
            name="acme",
            input_tokens=100,
            output_tokens=50,
            cost_usd=2.0,
            reserved_tokens=50,
            reserved_usd=0.5,
            budget_tokens=1000,
            budget_usd=10,
            period="day",
            resets_at=datetime(2026, 11, 22, tzinfo=UTC),
        )
        assert drawn(usage_table("tenant", [account]))[1] == "acme 0 100 50 2.0000 7.50 800 2026-11-22 00:00 UTC"

    def test_a_cost_that_is_not_known_in_full_is_a_lower_bound(self) -> None:
        account = Account(scope="tenant", name="acme", calls=2, cost_usd=1.0, unpriced_calls=1)
        assert "over 1.0000" in drawn(usage_table("tenant", [account]))[1]

    def test_a_budget_is_never_less_than_used_up(self) -> None:
        account = Account(scope="tenant", name="acme", cost_usd=3.0, budget_usd=2.0)
        assert " 0.00 " in drawn(usage_table("tenant", [account]))[1]

"""Whether a call fits an account."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model_gateway.accounting.fitting import Grant, Need, Wall, fit, grow, put_back, take
from services.model_gateway.accounting.rules import BudgetEntry, Holding, LimitEntry, Rules
from services.model_gateway.accounting.sheet import Amount, Held, Sheet, Used, began, ends

NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC).timestamp()
TEN = Need(input_tokens=7, output_tokens=3, least_output_tokens=3)
FREE = Need(input_tokens=10, output_tokens=1000, least_output_tokens=16)
"""Nobody asked for a length."""
TAKEN = Grant(Amount(10, 0, 1), 3, 10)


def sheet(*, used: int = 0, reserved: int = 0, period_began: float = NOON) -> Sheet:
    found = Sheet("acme")
    found.turn(period_began)
    found.count(Used(0, 1, used, 0, used * 1000))
    if reserved:
        found.held["other"] = Held(1, NOON, Amount(reserved, reserved * 1000, 1))
    return found


def holding(**said: object) -> Holding:
    return Holding(budgets=(BudgetEntry.model_validate({"scope": "tenant", **said}),))


def limit(**said: object) -> Holding:
    return Holding(limits=(LimitEntry.model_validate({"scope": "tenant", **said}),))


class TestABudget:
    @pytest.mark.parametrize(
        ("used", "reserved", "fits"), [(0, 0, True), (90, 0, True), (91, 0, False), (0, 91, False)]
    )
    def test_counts_what_is_used_and_what_is_reserved(self, used: int, reserved: int, fits: bool) -> None:
        assert isinstance(fit(sheet(used=used, reserved=reserved), holding(tokens=100), TEN), Grant) is fits

    def test_is_hopeless_only_if_reservations_would_not_make_room(self) -> None:
        hopeful = fit(sheet(used=50, reserved=45), holding(tokens=100), TEN)
        hopeless = fit(sheet(used=95, reserved=5), holding(tokens=100), TEN)
        assert isinstance(hopeful, Wall)
        assert isinstance(hopeless, Wall)
        assert (hopeful.hopeless, hopeless.hopeless) == (False, True)

    def test_begins_anew_with_its_period(self) -> None:
        yesterday = sheet(used=100, period_began=NOON - 86_400)
        grow(yesterday, holding(tokens=100, per="day"), NOON)
        assert isinstance(fit(yesterday, holding(tokens=100, per="day"), TEN), Grant)
        assert isinstance(fit(yesterday, holding(tokens=100, per="ever"), TEN), Wall)

    def test_in_money_refuses_a_model_whose_price_is_not_known_unless_told(self) -> None:
        refused = fit(sheet(), holding(usd=1), TEN)
        assert isinstance(refused, Wall)
        assert refused.kind == "unpriced"
        assert isinstance(fit(sheet(), holding(usd=1, unpriced="pass"), TEN), Grant)

    def test_lets_an_answer_be_long_as_far_as_others_find_room_too(self) -> None:
        assert fit(sheet(), holding(tokens=410), FREE) == Grant(Amount(110, 0, 1), 100, 26)
        assert fit(sheet(used=380), holding(tokens=410), FREE) == Grant(Amount(26, 0, 1), 16, 26)
        assert isinstance(fit(sheet(used=390), holding(tokens=410), FREE), Wall)

    @given(
        budget=st.integers(1, 10_000),
        used=st.integers(0, 10_000),
        reserved=st.integers(0, 10_000),
        need=st.builds(
            lambda into, least, more: Need(into, least + more, least, into * 1000, 2500.0),
            st.integers(0, 5000), st.integers(1, 500), st.integers(0, 5000),
        ),
    )  # fmt: skip
    def test_never_grants_more_than_it_has(self, budget: int, used: int, reserved: int, need: Need) -> None:
        both = holding(tokens=budget, usd=budget * 1e-6)
        found = fit(sheet(used=used, reserved=reserved), both, need)
        if isinstance(found, Grant):
            assert used + reserved + found.amount.tokens <= budget
            assert (used + reserved) * 1000 + found.amount.nanos <= budget * 1000
            assert need.least_output_tokens <= found.output_tokens <= need.output_tokens
        else:
            least = need.costing(need.least_output_tokens)
            assert used + reserved + least.tokens > budget or (used + reserved) * 1000 + least.nanos > budget * 1000


class TestALimit:
    def test_grows_back_over_a_minute(self) -> None:
        found, sixty = sheet(), limit(requests_per_minute=60)
        grow(found, sixty, NOON)
        for _ in range(60):
            assert isinstance(fit(found, sixty, TEN), Grant)
            take(found, sixty, TAKEN)
        wall = fit(found, sixty, TEN)
        assert isinstance(wall, Wall)
        assert wall.retry_after_s == pytest.approx(1)
        grow(found, sixty, NOON + 1)
        assert isinstance(fit(found, sixty, TEN), Grant)

    def test_of_tokens_lets_a_call_pass_that_is_larger_than_a_minutes_worth(self) -> None:
        found, five = sheet(), limit(tokens_per_minute=5)
        grow(found, five, NOON)
        assert isinstance(fit(found, five, TEN), Grant)
        take(found, five, TAKEN)
        assert isinstance(fit(found, five, TEN), Wall)
        grow(found, five, NOON + 120)
        assert isinstance(fit(found, five, TEN), Grant)

    def test_is_given_back_what_was_not_used(self) -> None:
        found, slow = sheet(), limit(requests_per_minute=1, tokens_per_minute=10)
        grow(found, slow, NOON)
        take(found, slow, TAKEN)
        put_back(found, slow, TAKEN, None)
        assert isinstance(fit(found, slow, TEN), Grant)
        take(found, slow, TAKEN)
        put_back(found, slow, TAKEN, Used(0, 1, 3, 1))
        assert (found.requests, found.tokens) == (1, 4)

    def test_of_calls_at_a_time_counts_those_of_every_gateway(self) -> None:
        wall = fit(sheet(reserved=10), limit(concurrency=1), TEN)
        assert isinstance(wall, Wall)
        assert (wall.kind, wall.hopeless) == ("concurrency", False)


class TestASheet:
    def test_is_read_as_it_was_written(self) -> None:
        found = sheet(used=5, reserved=7)
        grow(found, limit(requests_per_minute=5), NOON)
        take(found, limit(requests_per_minute=5), TAKEN)
        assert Sheet.read(found.write(), name="") == found

    def test_turns_nothing_back_for_a_clock_that_is_behind(self) -> None:
        found = sheet(used=5)
        found.turn(NOON - 7200)
        assert found.used["hour"] == Used(began("hour", NOON), 1, 5, 0, 5000)

    def test_forgets_processes_that_hold_nothing(self) -> None:
        found = sheet(reserved=5)
        found.held["idle"] = Held(3, NOON, Amount())
        found.forget(NOON + 30)
        assert set(found.held) == {"other", "idle"}
        found.forget(NOON + 90)
        assert set(found.held) == {"other"}

    @pytest.mark.parametrize(
        ("period", "end"),
        [
            ("hour", datetime(2026, 11, 20, 13, tzinfo=UTC)),
            ("day", datetime(2026, 11, 21, tzinfo=UTC)),
            ("month", datetime(2026, 12, 1, tzinfo=UTC)),
            ("ever", None),
        ],
    )
    def test_knows_when_a_period_ends(self, period: str, end: datetime | None) -> None:
        assert ends(period, began(period, NOON)) == end  # pyright: ignore[reportArgumentType]


class TestTheRules:
    def test_of_a_name_stand_instead_of_those_for_each(self) -> None:
        each = BudgetEntry(scope="tenant", tokens=1)
        acme = BudgetEntry(scope="tenant", name="acme", tokens=2)
        slow = LimitEntry(scope="tenant", concurrency=1)
        rules = Rules([each, acme], [slow])
        assert rules.of("tenant", "acme") == Holding((acme,), (slow,))
        assert rules.of("tenant", "other") == Holding((each,), (slow,))
        assert not rules.of("session", "acme")

    @pytest.mark.parametrize("kind", [BudgetEntry, LimitEntry])
    def test_must_say_something(self, kind: type[BudgetEntry | LimitEntry]) -> None:
        with pytest.raises(ValueError, match="needs"):
            kind(scope="tenant")

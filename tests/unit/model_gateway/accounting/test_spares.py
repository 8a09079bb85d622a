"""Grants taken ahead: calls that follow each other do not wait for a write, and nobody is refused for their sake."""

import asyncio
from dataclasses import replace

import pytest

from natscope.contracts.errors import BudgetExhausted
from natscope.contracts.model import Scope
from services.model_gateway.accounting.drafts import Entry
from services.model_gateway.accounting.fitting import Grant, Need
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.page import Page
from services.model_gateway.accounting.rules import BudgetEntry, Holding, LimitEntry
from services.model_gateway.accounting.sheet import NOTHING, Amount, Sheet, Used
from services.model_gateway.accounting.store import Conflict, Kept

TEN = Need(input_tokens=7, output_tokens=3, least_output_tokens=3, input_nanos=70, nanos_per_output_token=10.0)
USED = Used(0, 1, 7, 3, 100)
NOW = 1_000_000.0
"""All happens within one minute."""


class Counting:
    """A store of one sheet that can be shut, and counts what is written to it."""

    def __init__(self) -> None:
        self._kept = Kept(b"", 0)
        self.writes = 0
        self.open = asyncio.Event()
        self.open.set()

    @property
    def sheet(self) -> Sheet:
        return Sheet.read(self._kept.data, name="acme")

    async def read(self, key: str) -> Kept:
        return self._kept

    async def write(self, key: str, data: bytes, *, expect: int) -> int:
        await self.open.wait()
        if expect != self._kept.revision:
            raise Conflict
        self._kept = Kept(data, expect + 1)
        self.writes += 1
        return self._kept.revision

    async def all(self, scope: Scope) -> list[bytes]:
        return [self._kept.data]


async def alive(instance: str) -> bool:
    return True


def page(store: Counting, *rules: BudgetEntry | LimitEntry, me: str = "me", ahead_s: float = 60.0) -> Page:
    budgets = tuple(rule for rule in rules if isinstance(rule, BudgetEntry))
    limits = tuple(rule for rule in rules if isinstance(rule, LimitEntry))
    office = Office(store, me, alive, now=lambda: NOW)
    return Page(office, "tenant", "acme", lambda: Holding(budgets, limits), ahead_s=ahead_s)


async def reserved(of: Page, need: Need = TEN) -> Grant:
    return await asyncio.wait_for(of.reserve(lambda: need, budget_s=5, busy_s=5), timeout=10)


async def two_in_a_row(of: Page) -> None:
    """Make two calls, one right behind the other."""
    for _ in range(2):
        of.note(Entry(USED, await reserved(of)), soon=True)


def is_ready(of: Page, need: Need = TEN) -> bool:
    """Tell whether a call would begin at once, and give back what it would take."""
    answer = of.reserve(lambda: need, budget_s=5, busy_s=5)
    ready = answer.done()
    if ready:
        of.note(Entry(returned=answer.result()), soon=True)
    answer.cancel()
    return ready


TOKENS = BudgetEntry(scope="tenant", tokens=100_000)
MONEY = BudgetEntry(scope="tenant", usd=1.0)


class TestCallsThatFollowEachOther:
    async def test_begin_without_a_write_and_are_covered_by_what_is_written(self) -> None:
        store = Counting()
        mine = page(store, TOKENS, MONEY)
        await two_in_a_row(mine)
        store.open.clear()
        grant = await reserved(mine)
        assert grant.output_tokens == 3
        held = store.sheet.held["me"].amount
        assert held.tokens >= grant.amount.tokens >= 10
        assert held.nanos >= grant.amount.nanos >= 100
        store.open.set()
        await mine.written()
        await mine.stop()

    async def test_are_counted_to_the_last_one_and_leave_nothing_held(self) -> None:
        store = Counting()
        mine = page(store, TOKENS)
        for _ in range(50):
            mine.note(Entry(USED, await reserved(mine)), soon=True)
        await mine.written()
        assert store.sheet.used["ever"].calls == 50
        assert store.sheet.held["me"].amount == NOTHING
        await mine.stop()

    async def test_hold_nothing_ahead_once_no_more_come(self) -> None:
        store = Counting()
        mine = page(store, TOKENS, LimitEntry(scope="tenant", requests_per_minute=1000), ahead_s=0.5)
        await two_in_a_row(mine)
        for _ in range(1000):
            if mine.is_idle:
                break
            await asyncio.sleep(0.01)
        assert store.sheet.held["me"].amount == NOTHING
        assert store.sheet.requests <= 2
        await mine.stop()

    async def test_wait_for_a_write_if_they_need_more_than_what_was_taken_ahead(self) -> None:
        mine = page(Counting(), TOKENS)
        await two_in_a_row(mine)
        assert is_ready(mine)
        assert not is_ready(mine, replace(TEN, input_tokens=70))
        assert not is_ready(mine, replace(TEN, output_tokens=30))
        assert not is_ready(mine, replace(TEN, nanos_per_output_token=1e6))
        await mine.stop()

    async def test_pass_no_budget_in_money_that_refuses_what_has_no_price(self) -> None:
        mine = page(Counting(), MONEY)
        await two_in_a_row(mine)
        with pytest.raises(BudgetExhausted, match="price of the model is not known"):
            await reserved(mine, replace(TEN, input_nanos=None, nanos_per_output_token=0.0))
        await mine.stop()


class TestNothingIsTakenAhead:
    async def test_where_a_budget_or_a_limit_has_not_plenty(self) -> None:
        for rule in (
            BudgetEntry(scope="tenant", tokens=400),
            BudgetEntry(scope="tenant", usd=4e-6),
            LimitEntry(scope="tenant", concurrency=30),
            LimitEntry(scope="tenant", requests_per_minute=30),
            LimitEntry(scope="tenant", tokens_per_minute=400),
        ):
            mine = page(Counting(), rule)
            await two_in_a_row(mine)
            assert not is_ready(mine), rule
            await mine.stop()

    async def test_for_a_single_call(self) -> None:
        store = Counting()
        mine = page(store, TOKENS)
        grant = await reserved(mine)
        assert store.sheet.held["me"].amount == grant.amount == Amount(10, 100, 1)
        await mine.stop()


class TestWhoNeedsTheRest:
    async def test_gets_it_though_some_was_taken_ahead(self) -> None:
        store = Counting()
        mine = page(store, TOKENS)
        await two_in_a_row(mine)
        rest = 100_000 - 2 * 10
        grant = await reserved(mine, Need(rest - 3, 3, 3))
        assert grant.amount.tokens == rest
        await mine.stop()

    async def test_of_another_gateway_waits_until_it_is_given_back(self) -> None:
        store = Counting()
        mine, other = page(store, TOKENS, ahead_s=0.5), page(store, TOKENS, me="other")
        await two_in_a_row(mine)
        rest = 100_000 - 2 * 10
        grant = await reserved(other, Need(rest - 3, 3, 3))
        assert grant.amount.tokens == rest
        await mine.stop()
        await other.stop()

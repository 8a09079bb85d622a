"""Charging: what is reserved for a call follows what calls like it really took."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from natscope.contracts.model import Learned, Scope, Usage
from services.model_gateway.accounting.books import Books
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.prices import Prices
from services.model_gateway.accounting.rules import BudgetEntry, Rules
from services.model_gateway.accounting.store import Conflict, Kept
from services.model_gateway.charging import Charging
from services.model_gateway.paying import Tokens
from tests.unit.model_gateway.fakes import FakeProvider, question
from tests.unit.model_gateway.trying.trip import route

PROMPT = 1000
ANSWER = 100


class FakeStore:
    """Keeps sheets in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    async def read(self, key: str) -> Kept:
        return self.kept.get(key, Kept(b"", 0))

    async def write(self, key: str, data: bytes, *, expect: int) -> int:
        if (await self.read(key)).revision != expect:
            raise Conflict
        self.kept[key] = Kept(data, expect + 1)
        return expect + 1

    async def all(self, scope: Scope) -> list[bytes]:
        return [kept.data for kept in self.kept.values()]


async def _lives(_: str) -> bool:
    return True


class House:
    """Charging, under a budget of tokens that is never reached."""

    def __init__(self, tell: Callable[[Learned], Awaitable[None]] | None = None) -> None:
        rules = Rules([BudgetEntry(scope="tenant", tokens=10_000_000)])
        self.books = Books(Office(FakeStore(), "me", _lives), rules)
        self._charging = Charging(self.books, Prices(), tell)
        self.hear = self._charging.hear
        self._route = route(FakeProvider())

    async def call(self, real: int, *, estimated: bool = False) -> int:
        """Make a call whose prompt had so many tokens, and return how many were reserved for it."""
        charge = await self._charging.hold(question(), self._route, Tokens(PROMPT, ANSWER), within_s=1)
        reserved = (await self.books.account("tenant", "default")).reserved_tokens
        await charge.settle(Usage(input_tokens=real, output_tokens=ANSWER), "m-1", estimated=estimated)
        return reserved - ANSWER


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    house = House()
    yield house
    await house.books.close()


class TestWhatIsReserved:
    async def test_grows_with_what_prompts_really_were(self, house: House) -> None:
        for _ in range(6):
            await house.call(2 * PROMPT)
        assert await house.call(2 * PROMPT) >= 2 * PROMPT

    async def test_does_not_shrink_by_calls_whose_tokens_nobody_counted(self, house: House) -> None:
        for _ in range(6):
            await house.call(2 * PROMPT)
        for _ in range(50):
            await house.call(PROMPT, estimated=True)
        assert await house.call(2 * PROMPT) >= 2 * PROMPT

    async def test_is_given_back_once_however_often_that_is_said(self, house: House) -> None:
        charging = Charging(house.books, Prices())
        charge = await charging.hold(question(), route(FakeProvider()), Tokens(PROMPT, ANSWER), within_s=1)
        await charge.settle(Usage(input_tokens=PROMPT), "m-1")
        await charge.settle(Usage(input_tokens=PROMPT), "m-1")
        await charge.release()
        account = await house.books.account("tenant", "default")
        assert (account.reserved_tokens, account.input_tokens, account.calls) == (0, PROMPT, 1)

    async def test_follows_what_the_calls_of_another_gateway_took(self, house: House) -> None:
        other = House(house.hear)
        before = await house.call(PROMPT // 2, estimated=True)
        for _ in range(4):
            await other.call(PROMPT // 2)
        assert before > PROMPT
        assert PROMPT // 2 <= await house.call(PROMPT // 2) < PROMPT * 0.6
        await other.books.close()

"""One account's page: what happens while it is looked at or written is written down too."""

import asyncio

from natscope.contracts.model import Scope
from services.model_gateway.accounting.drafts import Entry
from services.model_gateway.accounting.fitting import Need
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.page import Page
from services.model_gateway.accounting.rules import BudgetEntry, Holding
from services.model_gateway.accounting.sheet import Amount, Held, Sheet, Used
from services.model_gateway.accounting.store import Conflict, Kept

NEED = Need(input_tokens=7, output_tokens=3, least_output_tokens=3)
ENDED = Entry(Used(0, 1, 7, 3))
BUDGET = Holding((BudgetEntry(scope="tenant", tokens=1000),))


class Pausing:
    """Whoever comes here waits until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self.reached.set()
        await self.opened.wait()


class OneSheet:
    """A store of one sheet, on which another gateway holds something."""

    def __init__(self, pausing: Pausing | None = None) -> None:
        self._pausing = pausing
        self._kept = Kept(Sheet("acme", held={"other": Held(1, 0.0, Amount(10, 0, 1))}).write(), 1)

    @property
    def sheet(self) -> Sheet:
        return Sheet.read(self._kept.data, name="acme")

    async def read(self, key: str) -> Kept:
        return self._kept

    async def write(self, key: str, data: bytes, *, expect: int) -> int:
        if self._pausing is not None:
            await self._pausing.passed()
        if expect != self._kept.revision:
            raise Conflict
        self._kept = Kept(data, expect + 1)
        return self._kept.revision

    async def all(self, scope: Scope) -> list[bytes]:
        return [self._kept.data]


async def ended_meanwhile(store: OneSheet, pausing: Pausing, *, asking: bool) -> Sheet:
    """Let a call end while the page waits for something, and return what is written in the end."""

    async def lives(instance: str) -> bool:
        if asking:
            await pausing.passed()
        return instance == "other"

    page = Page(Office(store, "me", lives), "tenant", "acme", lambda: BUDGET)
    answer = page.reserve(lambda: NEED, budget_s=5, busy_s=5)
    await pausing.reached.wait()
    page.note(ENDED, soon=True)
    pausing.opened.set()
    await answer
    await page.written()
    await page.stop()
    return store.sheet


def told(sheet: Sheet) -> tuple[int, int, int]:
    """Return how many calls are counted, and what this gateway and the other one hold."""
    return sheet.used["ever"].calls, sheet.held["me"].amount.tokens, sheet.held["other"].amount.tokens


class TestACallThatEnds:
    async def test_while_the_page_asks_who_is_alive_is_counted(self) -> None:
        assert told(await ended_meanwhile(OneSheet(), Pausing(), asking=True)) == (1, 10, 10)

    async def test_while_the_page_is_written_is_counted(self) -> None:
        pausing = Pausing()
        assert told(await ended_meanwhile(OneSheet(pausing), pausing, asking=False)) == (1, 10, 10)

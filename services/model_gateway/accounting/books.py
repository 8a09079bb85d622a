"""The books: every call reserves the most it may cost before it is made, and settles what it did cost after it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from natscope.contracts.errors import NatscopeError
from natscope.contracts.model import Account, AskUsage, Scope, Usage, UsageTold
from services.model_gateway.accounting.drafts import Entry
from services.model_gateway.accounting.fitting import Grant, Need
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.page import Page
from services.model_gateway.accounting.refusals import may_pass
from services.model_gateway.accounting.rules import Rules
from services.model_gateway.accounting.sheet import Sheet, Used
from services.model_gateway.accounting.store import key_of
from services.model_gateway.accounting.tabs import tab
from services.model_gateway.accounting.told import account_of

log = logging.getLogger(__name__)

NOBODY = "default"
"""The tenant of asks that name none."""
COUNT_S = 1.0
"""How late usage may be written that no budget and no limit holds for."""
SIDE_BY_SIDE = 16
"""Accounts without rules that are written at the same time."""
KEPT_PAGES = 4096
"""Accounts whose last sheet is remembered."""
FLUSH_S = 5.0


class Asked(Protocol):
    """What is asked: see `catalog.models_file.Target`."""

    @property
    def provider(self) -> str:
        """The provider's name in the models file."""
        ...

    @property
    def name(self) -> str:
        """`provider/model`."""
        ...


@dataclass(frozen=True, slots=True)
class Payer:
    """For whom a call is made."""

    tenant: str | None = None
    agent: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call waits for room."""

    budget_s: float = 30.0
    """While money or tokens are reserved for other calls and may come back."""
    busy_s: float = 2.0
    """While as many calls run as may."""

    def within(self, seconds: float | None) -> "Patience":
        """Return it for somebody who has no more than `seconds`."""
        return self if seconds is None else Patience(min(self.budget_s, seconds), min(self.busy_s, seconds))


Accounts = tuple[tuple[Scope, str], ...]


class Hold:
    """What is reserved for one call. It must be settled or released; on leaving `async with` it is released."""

    def __init__(self, books: "Books", accounts: Accounts, grants: "dict[tuple[Scope, str], Grant]") -> None:
        self._books = books
        self._accounts = accounts
        self._grants = grants
        self._open = True
        self.max_output_tokens = min(
            (grant.output_tokens for account, grant in grants.items() if books.has_budget(account)), default=None
        )
        """How long the answer may become: a longer one might pass a budget. None: there is none."""

    async def settle(self, usage: Usage, cost_usd: float | None) -> None:
        """Give the reservation back and write down what was used; None: the price is not known.

        Returns at once; it is written within a moment, and before the gateway ends.
        """
        nanos = 0 if cost_usd is None else round(cost_usd * 1_000_000_000)
        self._close(Used(0, 1, usage.input_tokens, usage.output_tokens, nanos, int(cost_usd is None)))

    async def release(self) -> None:
        """Give the reservation back: nothing was used. Does nothing after `settle`."""
        self._close(None)

    async def __aenter__(self) -> "Hold":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    def _close(self, used: Used | None) -> None:
        if self._open:
            self._open = False
            self._books.close_hold(self._accounts, self._grants, used)


class Books:
    """All accounts. Shared with the other gateways through the store."""

    def __init__(self, office: Office, rules: Rules | None = None, *, patience: Patience | None = None) -> None:
        self._office = office
        self._rules = rules or Rules()
        self._patience = patience or Patience()
        self._pages: dict[tuple[Scope, str], Page] = {}
        self._late: set[Page] = set()
        self._unwritten: set[Page] = set()
        self._counter: asyncio.Task[None] | None = None

    def use(self, rules: Rules) -> None:
        """Let `rules` hold from now on, also for those who wait."""
        self._rules = rules
        for page in self._pages.values():
            page.begin()

    async def hold(
        self, payer: Payer, target: Asked, need: Need | Callable[[], Need], *, within_s: float | None = None
    ) -> Hold:
        """Reserve what a call may cost on every account that has a budget or a limit; without one it returns at once.

        A function is asked for the need each time that there may be room; it is not asked if nothing is to be reserved.
        It waits as long as only reservations of other calls are in the way, at most `within_s`.

        Raises:
            BudgetExhausted: a budget has no room; nothing is reserved.
            RateLimited: a limit is reached; nothing is reserved.
            BusUnavailable: there is a budget, and the store does not answer.
        """
        accounts = _accounts(payer, target)
        ruled = [account for account in accounts if self._rules.of(*account)]
        if not ruled:
            return Hold(self, accounts, {})
        patience = self._patience.within(within_s)
        ask = (lambda: need) if isinstance(need, Need) else need
        if len(ruled) == 1:
            return Hold(self, accounts, await self._reserve(ruled, ask, patience))
        try:
            return Hold(self, accounts, await self._reserve(ruled, ask, Patience(0, 0)))
        except NatscopeError as error:
            if not may_pass(error):
                raise
        grants: dict[tuple[Scope, str], Grant] = {}
        try:
            for account in ruled:
                grants |= await self._reserve([account], ask, patience)
        except BaseException:
            self.close_hold((), grants, None)
            raise
        return Hold(self, accounts, grants)

    async def told(self, ask: AskUsage) -> UsageTold:
        """Answer `model.usage`.

        Raises:
            BusUnavailable: the store does not answer.
        """
        if ask.name is not None:
            return UsageTold(accounts=[await self.account(ask.scope, ask.name)])
        await self._write_late()
        found = [Sheet.read(data, name="") for data in await self._office.store.all(ask.scope)]
        return UsageTold(
            accounts=[await self._account(ask.scope, sheet) for sheet in sorted(found, key=lambda sheet: sheet.name)]
        )

    async def account(self, scope: Scope, name: str) -> Account:
        """Return how an account stands.

        Raises:
            BusUnavailable: the store does not answer.
        """
        page = self._page((scope, name))
        await page.written()
        kept = await self._office.store.read(page.key)
        return await self._account(scope, Sheet.read(kept.data, name=name))

    async def close(self) -> None:
        """Write down everything that is not yet, for at most five seconds, and stop."""
        if self._counter is not None:
            self._counter.cancel()
            await asyncio.gather(self._counter, return_exceptions=True)
        try:
            async with asyncio.timeout(FLUSH_S):
                await asyncio.gather(*(page.written() for page in self._pages.values()))
        except TimeoutError:
            log.error("not everything that was used could be written down")
        await asyncio.gather(*(page.stop() for page in self._pages.values()))

    def unwritten(self) -> str:
        """Return what was used and may not be written yet, as `tabs.tab` says it; empty if there is nothing."""
        rows = {page: page.unwritten() for page in self._unwritten}
        self._unwritten = {page for page, row in rows.items() if row is not None}
        return tab({page.key: row for page, row in rows.items() if row is not None})

    def has_budget(self, account: tuple[Scope, str]) -> bool:
        """Return whether a budget holds for an account, and not only a limit."""
        return bool(self._rules.of(*account).budgets)

    def close_hold(self, accounts: Accounts, grants: "dict[tuple[Scope, str], Grant]", used: Used | None) -> None:
        """Give grants back and count what was used; a hold calls this once."""
        for account in dict.fromkeys((*grants, *accounts)):
            grant = grants.get(account)
            if grant is None and used is None:
                continue
            page = self._page(account)
            ruled = grant is not None or bool(page.holding())
            page.note(Entry(used, grant), soon=ruled)
            if ruled:
                self._unwritten.add(page)
            else:
                self._count_late(page)

    async def _reserve(
        self, accounts: Sequence[tuple[Scope, str]], need: Callable[[], Need], patience: Patience
    ) -> "dict[tuple[Scope, str], Grant]":
        """Reserve on all accounts at the same time, or on none."""
        answers = {
            account: self._page(account).reserve(need, budget_s=patience.budget_s, busy_s=patience.busy_s)
            for account in accounts
        }
        try:
            waiting = [answer for answer in answers.values() if not answer.done()]
            if waiting:
                await asyncio.wait(waiting)
            return {account: answer.result() for account, answer in answers.items()}
        except BaseException:
            granted = {account: answer.result() for account, answer in answers.items() if _is_granted(answer)}
            self.close_hold((), granted, None)
            raise

    async def _account(self, scope: Scope, sheet: Sheet) -> Account:
        holding = self._rules.of(scope, sheet.name)
        sheet.turn(self._office.now())
        await self._office.strike_dead(sheet, key_of(scope, sheet.name))
        return account_of(scope, sheet, holding)

    def _page(self, account: tuple[Scope, str]) -> Page:
        page = self._pages.get(account)
        if page is None:
            if len(self._pages) >= KEPT_PAGES:
                self._pages = {key: page for key, page in self._pages.items() if not page.is_idle}
            page = self._pages[account] = Page(self._office, *account, lambda: self._rules.of(*account))
        return page

    def _count_late(self, page: Page) -> None:
        self._late.add(page)
        if self._counter is None or self._counter.done():
            self._counter = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while self._late:
            await asyncio.sleep(COUNT_S)
            await self._write_late()

    async def _write_late(self) -> None:
        late, self._late = list(self._late), set()
        for start in range(0, len(late), SIDE_BY_SIDE):
            await asyncio.gather(*(page.written() for page in late[start : start + SIDE_BY_SIDE]))


def _accounts(payer: Payer, target: Asked) -> Accounts:
    named: tuple[tuple[Scope, str | None], ...] = (
        ("tenant", payer.tenant or NOBODY),
        ("agent", payer.agent),
        ("session", payer.session),
        ("provider", target.provider),
        ("model", target.name),
    )
    return tuple((scope, name) for scope, name in named if name)


def _is_granted(answer: "asyncio.Future[Grant]") -> bool:
    """Return whether there is something to give back; if there is not yet, none will come."""
    if not answer.done():
        answer.cancel()
        return False
    return not answer.cancelled() and answer.exception() is None

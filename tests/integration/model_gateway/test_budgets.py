"""Budgets and limits, kept by several gateways over one real KV bucket."""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import pytest

from natscope.bus import BusSettings, connect
from natscope.contracts.errors import BudgetExhausted, BusUnavailable, NatscopeError, RateLimited
from natscope.contracts.model import AskUsage, Usage
from services.model_gateway.accounting.books import Books, Patience, Payer
from services.model_gateway.accounting.rules import BudgetEntry, LimitEntry, Rules
from tests.integration.model_gateway.replica import MODEL, TEN, replica

REPLICAS, CALLS, AFFORDED = 3, 1000, 100
ACME = Payer(tenant="acme")
USED = Usage(input_tokens=7, output_tokens=3)
COST = 1e-6
VICTIM = """
import asyncio, sys
from services.model_gateway.accounting.books import Payer
from services.model_gateway.accounting.rules import BudgetEntry, Rules
from tests.integration.model_gateway.replica import MODEL, TEN, replica

async def main():
    async with replica(sys.argv[1], Rules([BudgetEntry(scope="tenant", tokens=10)])) as books:
        await books.hold(Payer(tenant="acme"), MODEL, TEN)
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
"""A gateway that reserves all there is and is then killed."""


def budget(**said: float | str) -> Rules:
    return Rules([BudgetEntry.model_validate({"scope": "tenant", **said})])


async def call(books: Books, payer: Payer = ACME, *, lasts_s: float = 0.01, uses: Usage = USED) -> str:
    """Make one call and tell how it ended."""
    try:
        hold = await books.hold(payer, MODEL, TEN)
    except NatscopeError as error:
        return error.code
    await asyncio.sleep(lasts_s)
    await hold.settle(uses, COST)
    return "done"


async def attack(url: str, rules: Rules, *, careless: bool = False, uses: Usage = USED) -> tuple[list[str], int]:
    """Let three gateways make a thousand calls at the same time, and return how they ended and what was spent."""
    async with AsyncExitStack() as stack:
        several = [await stack.enter_async_context(replica(url, rules, careless=careless)) for _ in range(REPLICAS)]
        ends = await asyncio.gather(*(call(several[n % REPLICAS], uses=uses) for n in range(CALLS)))
        for books in several:
            await books.account("tenant", "acme")
        account = await several[0].account("tenant", "acme")
        assert careless or (account.running, account.reserved_tokens) == (0, 0)
    return list(ends), account.input_tokens + account.output_tokens


class TestThreeGatewaysAndAThousandCallsAtOnce:
    @pytest.mark.parametrize("said", [{"tokens": 10 * AFFORDED}, {"usd": COST * AFFORDED}])
    async def test_spend_what_there_is_to_the_last_call_and_no_more(
        self, nats_url: str, said: dict[str, float]
    ) -> None:
        ends, spent = await attack(nats_url, budget(**said))
        assert (ends.count("done"), ends.count("budget_exhausted")) == (AFFORDED, CALLS - AFFORDED)
        assert spent == 10 * AFFORDED

    async def test_refuse_nobody_for_reservations_that_come_back(self, nats_url: str) -> None:
        ends, spent = await attack(nats_url, budget(tokens=10 * AFFORDED), uses=Usage(input_tokens=3, output_tokens=2))
        assert 10 * AFFORDED - 10 < spent <= 10 * AFFORDED
        assert ends.count("done") == spent / 5

    async def test_overspend_without_compare_and_set(self, nats_url: str) -> None:
        ends, _ = await attack(nats_url, budget(tokens=10 * AFFORDED), careless=True)
        assert ends.count("done") > AFFORDED

    async def test_keep_the_limit_of_calls_at_a_time(self, nats_url: str) -> None:
        rules = Rules(limits=[LimitEntry(scope="model", concurrency=5)])
        running = most = 0
        full = asyncio.Event()

        async def one(books: Books) -> None:
            nonlocal running, most
            async with await books.hold(ACME, MODEL, TEN):
                running += 1
                most = max(most, running)
                if running == 5:
                    full.set()
                await asyncio.wait_for(full.wait(), 60)
                await asyncio.sleep(0.005)
                running -= 1

        async with AsyncExitStack() as stack:
            patience = Patience(busy_s=60)
            several = [await stack.enter_async_context(replica(nats_url, rules, patience=patience)) for _ in range(3)]
            await asyncio.gather(*(one(several[n % 3]) for n in range(60)))
        assert most == 5

    async def test_keep_the_limit_of_calls_a_minute(self, nats_url: str) -> None:
        rules = Rules(limits=[LimitEntry(scope="provider", name="fake", requests_per_minute=40)])
        async with AsyncExitStack() as stack:
            several = [await stack.enter_async_context(replica(nats_url, rules)) for _ in range(3)]
            began = time.monotonic()
            ends = await asyncio.gather(*(call(several[n % 3], lasts_s=0) for n in range(150)))
            grown = (time.monotonic() - began) * 40 / 60
        assert 40 <= ends.count("done") <= 41 + grown
        assert ends.count("rate_limited") == 150 - ends.count("done")


class TestAKilledGateway:
    async def test_gives_back_what_it_held_when_its_sign_of_life_is_gone(self, nats_url: str) -> None:
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-c", VICTIM, nats_url, stdout=asyncio.subprocess.PIPE
        )
        assert victim.stdout is not None
        assert await victim.stdout.readline() == b"held\n"
        async with replica(nats_url, budget(tokens=10), patience=Patience(budget_s=0.2)) as books:
            with pytest.raises(BudgetExhausted, match="10 reserved"):
                await books.hold(ACME, MODEL, TEN)
        victim.kill()
        await victim.wait()
        async with replica(nats_url, budget(tokens=10), patience=Patience(budget_s=60)) as books:
            assert await call(books) == "done"
            assert (await books.account("tenant", "acme")).reserved_tokens == 0


class TestTheBooks:
    async def test_say_what_is_spent_and_when_the_budget_begins_anew(self, nats_url: str) -> None:
        async with replica(nats_url, budget(tokens=15, per="day")) as books:
            assert await call(books) == "done"
            with pytest.raises(BudgetExhausted) as refused:
                await books.hold(ACME, MODEL, TEN)
        assert "tenant 'acme' (15 tokens per day) has no room for this: 10 tokens used" in refused.value.message
        assert refused.value.details["spent_tokens"] == 10
        assert str(refused.value.details["resets_at"]).endswith("T00:00:00+00:00")

    async def test_hold_on_no_account_what_another_refuses(self, nats_url: str) -> None:
        rules = Rules([BudgetEntry(scope="tenant", tokens=100), BudgetEntry(scope="session", tokens=5)])
        async with replica(nats_url, rules) as books:
            with pytest.raises(BudgetExhausted, match="session 's'"):
                await books.hold(Payer("acme", "a", "s"), MODEL, TEN)
            assert (await books.account("tenant", "acme")).reserved_tokens == 0

    async def test_wait_on_several_accounts_until_there_is_room(self, nats_url: str) -> None:
        rules = Rules([BudgetEntry(scope="tenant", tokens=1000), BudgetEntry(scope="agent", tokens=50)])
        async with replica(nats_url, rules) as books:
            payer, half = Payer("acme", "writer"), Usage(input_tokens=3, output_tokens=2)
            ends = await asyncio.gather(*(call(books, payer, uses=half) for _ in range(20)))
            assert ends.count("done") == 9
            account = await books.account("agent", "writer")
            assert (account.calls, account.reserved_tokens, account.running) == (9, 0, 0)

    async def test_count_what_nothing_holds_for_within_a_moment(self, nats_url: str) -> None:
        payer = Payer("acme", "the writer", "a session/with.odd*characters")
        async with replica(nats_url, Rules()) as books, replica(nats_url, Rules()) as other:
            await call(books, payer)
            await call(other, payer)
            told = await books.told(AskUsage(scope="tenant"))
            told = await other.told(AskUsage(scope="session"))
            assert [account.name for account in told.accounts] == [payer.session]
            [account] = (await books.told(AskUsage(scope="session", name=payer.session))).accounts
        assert (account.calls, account.input_tokens, account.output_tokens) == (2, 14, 6)
        assert account.cost_usd == pytest.approx(2 * COST)

    async def test_are_written_when_the_gateway_ends(self, nats_url: str) -> None:
        async with replica(nats_url, Rules()) as books:
            await call(books)
        async with replica(nats_url, Rules()) as books:
            assert [account.calls for account in (await books.told(AskUsage())).accounts] == [1]

    async def test_know_new_rules_at_once(self, nats_url: str) -> None:
        async with replica(nats_url, budget(tokens=10)) as books:
            first = await books.hold(ACME, MODEL, TEN)
            waiting = asyncio.create_task(call(books))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            books.use(budget(tokens=20))
            assert await waiting == "done"
            await first.release()

    async def test_give_back_what_was_granted_to_somebody_who_has_gone(self, nats_url: str) -> None:
        async with replica(nats_url, budget(tokens=100)) as books:
            gone = [asyncio.create_task(books.hold(ACME, MODEL, TEN)) for _ in range(10)]
            for wait, task in enumerate(gone):
                await asyncio.sleep(0.0002 * wait)
                task.cancel()
            ended = await asyncio.gather(*gone, return_exceptions=True)
            for each in ended:
                if not isinstance(each, BaseException):
                    await each.release()
            account = await books.account("tenant", "acme")
            assert (account.reserved_tokens, account.running, account.calls) == (0, 0, 0)


class TestAStoreThatIsAway:
    async def test_refuses_what_a_budget_holds_for_and_lets_pass_what_only_a_limit_does(self, nats_url: str) -> None:
        async with connect("admin", BusSettings(url=nats_url)) as bus:
            await bus.js.delete_key_value("usage")
        limits = [LimitEntry(scope="model", concurrency=1)]
        async with replica(nats_url, Rules(limits=limits)) as books:
            assert await call(books) == "done"
            books.use(budget(tokens=100))
            with pytest.raises(BusUnavailable):
                await books.hold(ACME, MODEL, TEN)


class TestALimit:
    async def test_says_when_there_will_be_room(self, nats_url: str) -> None:
        rules = Rules(limits=[LimitEntry(scope="tenant", tokens_per_minute=15)])
        async with replica(nats_url, rules) as books:
            assert await call(books) == "done"
            with pytest.raises(RateLimited) as refused:
                await books.hold(ACME, MODEL, TEN)
        assert 0 < float(str(refused.value.details["retry_after_s"])) <= 20

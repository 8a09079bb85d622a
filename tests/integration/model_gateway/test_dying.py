"""A gateway that dies before its books are written: each answer that was kept is counted once, and the rest returns."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from natscope.bus import Bus, BusSettings, Ledger, connect
from natscope.bus.beside import BESIDE
from natscope.bus.instance import Instance
from natscope.bus.streams import REPLIES
from natscope.contracts import model
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.accounting.books import Books, Hold, Payer
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.rules import BudgetEntry, Rules
from services.model_gateway.accounting.store import KvStore
from services.model_gateway.accounting.tabs import kept_tabs, no_tabs
from tests.integration.model_gateway.house import opened
from tests.integration.model_gateway.replica import MODEL, TEN
from tests.loopback.provider import Provider
from tests.loopback.replies import Reply

RULES = Rules([BudgetEntry(scope="tenant", tokens=10_000)])
ACME = Payer(tenant="acme", agent="writer")
MODELS = """
providers:
  here: {{kind: openai, api_key: {{env: OPENAI_API_KEY}}, base_url: "{url}"}}
aliases:
  default: {{targets: [{{provider: here, model: loopback-1, price: {{input: 1, output: 2}}}}]}}
budgets:
  - {{scope: tenant, usd: 1}}
"""


class Halting(KvStore):
    """Writes until it is halted, and then nothing more until it is released."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.going = asyncio.Event()
        self.going.set()

    async def write(self, key: str, data: bytes, *, expect: int) -> int:
        await self.going.wait()
        return await super().write(key, data, expect=expect)


@dataclass
class Gateway:
    """The books and the ledger of one gateway."""

    bus: Bus
    store: Halting
    books: Books
    ledger: Ledger[model.Listed]
    holds: list[Hold] = field(default_factory=list[Hold])

    async def begin(self, calls: int) -> None:
        self.holds += await asyncio.gather(*(self.books.hold(ACME, MODEL, TEN) for _ in range(calls)))

    async def answer(self, id: str) -> None:
        """Settle a call that has begun, and keep its answer."""

        async def work() -> model.Listed:
            await self.holds.pop().settle(model.Usage(input_tokens=4, output_tokens=3), 1e-6)
            return model.Listed(models=[])

        await self.ledger.once(id, model.List(), work)


async def _is_dead(instance: str) -> bool:
    return False


@asynccontextmanager
async def gateway(url: str, *, looks: bool = True) -> AsyncGenerator[Gateway]:
    """Open a gateway for which every other one is dead; `looks` says whether it looks what they left."""
    silent = telemetry_for("books", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    async with connect("books", BusSettings.model_construct(url=url), silent) as bus:
        instance, store = Instance(bus), Halting(bus)
        books = Books(Office(store, instance.id, _is_dead, tabs=kept_tabs(bus) if looks else no_tabs), RULES)
        ledger = Ledger(bus, instance, bucket=REPLIES, answer=model.Listed, beside=books.unwritten)
        try:
            yield Gateway(bus, store, books, ledger)
        finally:
            store.going.set()
            await books.close()


async def found(url: str, *, looks: bool, written: int, kept: int, begun: int = 0) -> tuple[int, int, int]:
    """Let a gateway die, and return what another one says: calls, tokens used, and tokens reserved."""
    async with AsyncExitStack() as stack:
        dying = await stack.enter_async_context(gateway(url))
        await dying.begin(written + kept + begun)
        for n in range(written):
            await dying.answer(f"written-{n}")
        await dying.books.account("tenant", "acme")
        dying.store.going.clear()
        await asyncio.gather(*(dying.answer(f"kept-{n}") for n in range(kept)))
        other = await stack.enter_async_context(gateway(url, looks=looks))
        shown = await other.books.account("tenant", "acme")
        hold = await other.books.hold(ACME, MODEL, TEN)
        await hold.release()
        account = await other.books.account("tenant", "acme")
        assert (shown.calls, shown.input_tokens) == (account.calls, account.input_tokens)
        return account.calls, account.input_tokens + account.output_tokens, account.reserved_tokens


class TestWhatADeadGatewayHasAnswered:
    async def test_is_counted_though_it_was_not_written(self, nats_url: str) -> None:
        assert await found(nats_url, looks=True, written=0, kept=5) == (5, 35, 0)

    async def test_is_missing_if_nobody_looks_at_what_it_kept_with_its_answers(self, nats_url: str) -> None:
        assert await found(nats_url, looks=False, written=0, kept=5) == (0, 0, 0)

    async def test_is_counted_once_if_some_of_it_was_written(self, nats_url: str) -> None:
        assert await found(nats_url, looks=True, written=4, kept=3) == (7, 49, 0)

    async def test_is_counted_alone_and_what_had_only_begun_returns(self, nats_url: str) -> None:
        assert await found(nats_url, looks=True, written=1, kept=1, begun=6) == (2, 14, 0)

    async def test_is_found_among_many_answers(self, nats_url: str) -> None:
        assert await found(nats_url, looks=True, written=0, kept=300) == (300, 2100, 0)


class TestAGatewayThatWasTakenForDead:
    async def test_counts_nothing_again_of_what_was_counted_for_it(self, nats_url: str) -> None:
        async with gateway(nats_url) as stalled, gateway(nats_url) as other:
            await stalled.begin(4)
            stalled.store.going.clear()
            await asyncio.gather(*(stalled.answer(f"kept-{n}") for n in range(3)))
            await (await other.books.hold(ACME, MODEL, TEN)).release()
            assert (await other.books.account("tenant", "acme")).calls == 3
            stalled.store.going.set()
            await stalled.answer("late")
            account = await stalled.books.account("tenant", "acme")
        assert (account.calls, account.reserved_tokens) == (4, 0)


class TestAnAnswer:
    async def test_is_kept_with_what_was_used_for_it(self, nats_url: str, tmp_path: Path) -> None:
        async with (
            Provider(lambda _: Reply(text="The answer is 42.")) as provider,
            opened(nats_url, provider.url, tmp_path, models=MODELS.format(url=provider.url)) as house,
        ):
            await house.chat(tenant="acme", request_id="r1")
            kept = await house.guest.inbox.look(f"KV_{REPLIES}", f"$KV.{REPLIES}.r1")
        assert kept is not None
        assert '"tenant.acme":[1,' in (kept.headers or {})[BESIDE]

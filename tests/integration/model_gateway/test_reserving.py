"""Room is reserved before it is known whether a call must be made, and none stays reserved that is not needed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from natscope.contracts import model
from natscope.contracts.errors import NatscopeError, RateLimited, Refused
from tests.integration.model_gateway.house import House, opened, question
from tests.loopback.provider import Provider
from tests.loopback.replies import Reply

MODELS = """
providers:
  here: {{kind: openai, api_key: {{env: OPENAI_API_KEY}}, base_url: "{url}"}}
aliases:
  default: {{targets: [{{provider: here, model: loopback-1, price: {{input: 1, output: 2}}}}]}}
budgets:
  - {{scope: tenant, name: acme, tokens: 100000}}
limits:
  - {{scope: tenant, name: acme, requests_per_minute: 3}}
"""
LONG_S = 60.0


@asynccontextmanager
async def house(nats_url: str, folder: Path, reply: Reply) -> AsyncIterator[tuple[House, Provider]]:
    async with (
        Provider(lambda _: reply) as provider,
        opened(nats_url, provider.url, folder, models=MODELS.format(url=provider.url)) as found,
    ):
        yield found, provider


async def account(house: House) -> model.Account:
    told = await house.guest.ask(model.USAGE, model.AskUsage(scope="tenant", name="acme"))
    return told.accounts[0]


async def running(house: House, count: int) -> model.Account:
    """Return the account as soon as so many calls hold something of it."""
    async with asyncio.timeout(20):
        while True:
            found = await account(house)
            if found.running == count:
                return found
            await asyncio.sleep(0.02)


def asking(house: House, id: str) -> "asyncio.Task[model.Chatted]":
    return asyncio.create_task(house.chat(tenant="acme", request_id=id))


class TestWhatWasAnsweredBefore:
    async def test_leaves_nothing_reserved_and_counts_for_no_limit(self, nats_url: str, tmp_path: Path) -> None:
        async with house(nats_url, tmp_path, Reply(text="Yes.")) as (here, provider):
            ask = question(tenant="acme", request_id="r")
            answers = [await here.guest.ask(model.CHAT, ask) for _ in range(6)]
            assert [answer.replayed for answer in answers] == [False] + 5 * [True]
            found = await running(here, 0)
            assert (found.calls, found.reserved_tokens, found.reserved_usd) == (1, 0, 0)
            for _ in range(2):
                assert not (await here.chat(tenant="acme")).replayed
            with pytest.raises(RateLimited):
                await here.chat(tenant="acme")
            assert provider.total == 3


class TestWhatIsBeingAnswered:
    async def test_holds_room_for_one_call_however_many_ask(self, nats_url: str, tmp_path: Path) -> None:
        async with house(nats_url, tmp_path, Reply(text="Yes.")) as (here, provider):
            provider.may_end.clear()
            ask = question(tenant="acme", request_id="same")
            asked = [asyncio.create_task(here.guest.ask(model.CHAT, ask, deadline_s=90)) for _ in range(4)]
            await running(here, 1)
            provider.may_end.set()
            assert {answer.message.text for answer in await asyncio.gather(*asked)} == {"Yes."}
            assert provider.total == 1
            assert (await running(here, 0)).calls == 1

    async def test_of_two_requests_holds_room_for_both(self, nats_url: str, tmp_path: Path) -> None:
        async with house(nats_url, tmp_path, Reply(text="Yes.")) as (here, provider):
            provider.may_end.clear()
            asked = [asking(here, "one"), asking(here, "two")]
            await running(here, 2)
            provider.may_end.set()
            await asyncio.gather(*asked)
            assert (await running(here, 0)).calls == provider.total == 2


class TestWhatIsNotAnswered:
    async def test_holds_nothing_when_it_is_cancelled(self, nats_url: str, tmp_path: Path) -> None:
        async with house(nats_url, tmp_path, Reply(text="Yes.", delay_s=LONG_S)) as (here, _):
            asked = asking(here, "r")
            assert (await running(here, 1)).reserved_tokens > 0
            await here.guest.tell(model.CANCELLED, model.Cancelled(request_id="r"), "r")
            with pytest.raises(Refused, match="cancelled"):
                await asked
            assert (await running(here, 0)).reserved_tokens == 0

    async def test_holds_nothing_when_it_failed(self, nats_url: str, tmp_path: Path) -> None:
        async with house(nats_url, tmp_path, Reply(status=401)) as (here, _):
            with pytest.raises(NatscopeError):
                await here.chat(tenant="acme")
            found = await running(here, 0)
            assert (found.calls, found.reserved_tokens) == (0, 0)

    async def test_holds_nothing_when_it_is_refused_for_what_it_asks(self, nats_url: str, tmp_path: Path) -> None:
        async with house(nats_url, tmp_path, Reply(text="Yes.")) as (here, provider):
            await here.chat(tenant="acme", request_id="r")
            with pytest.raises(NatscopeError, match="something else"):
                await here.chat("Another question?", tenant="acme", request_id="r")
            found = await running(here, 0)
            assert (found.calls, found.reserved_tokens, provider.total) == (1, 0, 1)

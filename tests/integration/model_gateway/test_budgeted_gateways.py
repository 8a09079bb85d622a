"""Three whole gateways, one budget, and more asks at once than it can pay."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from natscope.contracts import model
from natscope.contracts.errors import NatscopeError
from tests.integration.model_gateway.house import House, opened, question
from tests.loopback.provider import Provider
from tests.loopback.replies import Reply

ASKS, AFFORDED, TOKENS = 150, 40, 19
MODELS = """
providers:
  here: {{kind: openai, api_key: {{env: OPENAI_API_KEY}}, base_url: "{url}"}}
aliases:
  default: {{targets: [{{provider: here, model: loopback-1, price: {{input: 1, output: 2}}}}]}}
budgets:
  - {{scope: tenant, name: acme, {budget}}}
"""


async def ended(house: House, text: str) -> str:
    """Ask, and return how that ended."""
    try:
        ask = question(text, tenant="acme", generation={"max_output_tokens": 7})
        await house.guest.ask(model.CHAT, ask, deadline_s=90)
    except NatscopeError as error:
        return error.code
    return "done"


async def settled(house: House) -> model.Account:
    """Return the account when every gateway has written down what it used."""
    while True:
        told = await house.guest.ask(model.USAGE, model.AskUsage(scope="tenant", name="acme"))
        if told.accounts[0].running == 0:
            return told.accounts[0]
        await asyncio.sleep(0.02)


class TestThreeGateways:
    @pytest.mark.parametrize("budget", [f"tokens: {AFFORDED * TOKENS}", f"usd: {AFFORDED * 26e-6:.6f}"])
    async def test_spend_a_budget_to_the_last_ask_and_no_more(self, nats_url: str, tmp_path: Path, budget: str) -> None:
        async with (
            Provider(lambda _: Reply(text="The answer is 42.", delay_s=0.02)) as provider,
            AsyncExitStack() as stack,
        ):
            houses: list[House] = []
            for number in range(3):
                folder = tmp_path / str(number)
                folder.mkdir()
                models = MODELS.format(url=provider.url, budget=budget)
                houses.append(await stack.enter_async_context(opened(nats_url, provider.url, folder, models=models)))
            ends = await asyncio.gather(*(ended(houses[n % 3], f"What is {n} times 7?") for n in range(ASKS)))
            account = await settled(houses[0])
        assert (ends.count("done"), ends.count("budget_exhausted")) == (AFFORDED, ASKS - AFFORDED)
        assert (account.calls, account.input_tokens + account.output_tokens) == (AFFORDED, AFFORDED * TOKENS)
        assert (account.running, account.reserved_tokens) == (0, 0)
        assert provider.total == AFFORDED


class TestAGatewayThatEnds:
    async def test_by_an_error_around_it_has_written_down_what_was_used(self, nats_url: str, tmp_path: Path) -> None:
        async with Provider(lambda _: Reply(text="The answer is 42.")) as provider:
            with pytest.raises(ZeroDivisionError):
                await _asked_and_failed(nats_url, provider.url, tmp_path)
            async with opened(nats_url, provider.url, tmp_path) as house:
                assert (await settled(house)).calls == 1


async def _asked_and_failed(nats_url: str, provider_url: str, folder: Path) -> None:
    async with opened(nats_url, provider_url, folder) as house:
        await house.chat(tenant="acme")
        raise ZeroDivisionError

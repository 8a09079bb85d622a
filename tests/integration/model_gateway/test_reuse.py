"""Answers given again to those who ask the very same."""

from collections.abc import AsyncIterator

import pytest

from natscope.bus import BusSettings, connect
from natscope.contracts.blocks import plain
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Chatted, Generation, Usage
from services.model_gateway.accounting.reuse import Reused

TARGET = "openai/gpt-5"


def ask(text: str = "Hello", *, tenant: str | None = None, temperature: float | None = None) -> Chat:
    message = Message(name="user", role="user", content=plain(text))
    return Chat(model="fast", messages=[message], tenant=tenant, generation=Generation(temperature=temperature))


def answer(text: str = "Hi", finish_reason: str = "stop") -> Chatted:
    return Chatted.model_validate(
        {
            "message": Message(name="assistant", role="assistant", content=plain(text)),
            "finish_reason": finish_reason,
            "usage": Usage(input_tokens=5, output_tokens=7),
            "cost_usd": 0.1,
            "provider": "openai",
            "model": "gpt-5",
        }
    )


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def reused(nats_url: str, clock: Clock) -> AsyncIterator[Reused]:
    async with connect("gateway", BusSettings(url=nats_url)) as bus:
        yield Reused(bus, now=clock)


class TestAnAnswer:
    async def test_is_given_again_to_the_same_question_and_costs_nothing(self, reused: Reused) -> None:
        await reused.keep(ask(), TARGET, answer())
        found = await reused.find(ask(), TARGET, within_s=60)
        assert found is not None
        assert (found.message.text, found.replayed, found.usage, found.cost_usd) == ("Hi", True, Usage(), 0.0)

    async def test_that_is_older_than_one_takes_is_not_given(self, reused: Reused, clock: Clock) -> None:
        await reused.keep(ask(), TARGET, answer())
        clock.now += 61
        assert await reused.find(ask(), TARGET, within_s=60) is None
        assert await reused.find(ask(), TARGET, within_s=62) is not None

    @pytest.mark.parametrize(
        ("other", "target"),
        [
            (ask("Hello!"), TARGET),
            (ask(temperature=0.5), TARGET),
            (ask(tenant="acme"), TARGET),
            (ask(), "openai/gpt-5-mini"),
        ],
    )
    async def test_to_another_question_is_not_given(self, reused: Reused, other: Chat, target: str) -> None:
        await reused.keep(ask(), TARGET, answer())
        assert await reused.find(other, target, within_s=60) is None

    async def test_that_was_cut_is_not_kept(self, reused: Reused) -> None:
        await reused.keep(ask(), TARGET, answer(finish_reason="length"))
        assert await reused.find(ask(), TARGET, within_s=60) is None

    async def test_that_is_large_is_given_again_whole(self, reused: Reused) -> None:
        await reused.keep(ask(), TARGET, answer("x" * 400_000))
        found = await reused.find(ask(), TARGET, within_s=60)
        assert found is not None
        assert len(found.message.text) == 400_000


class TestABucketThatIsGone:
    async def test_costs_a_call_and_nothing_else(self, nats_url: str, reused: Reused) -> None:
        async with connect("admin", BusSettings(url=nats_url)) as bus:
            await bus.js.delete_key_value("reused")
        await reused.keep(ask(), TARGET, answer())
        assert await reused.find(ask(), TARGET, within_s=60) is None

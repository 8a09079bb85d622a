"""Keys that are of no use now, known to all gateways on one nats-server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from natscope.bus import BusSettings, connect
from natscope.bus.streams import BREAKERS
from natscope.contracts import errors, model
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.trying.breaker import Breakers, Entry, Rules
from services.model_gateway.trying.faults import Failed
from services.model_gateway.trying.outs import KeptOuts, Out
from services.model_gateway.trying.routes import Route
from tests.integration.model_gateway.house import House, opened, question
from tests.loopback.chat_wire import failure
from tests.loopback.provider import Provider
from tests.loopback.replies import Reply
from tests.nats_server import NatsServer
from tests.unit.model_gateway.fakes import FakeAccount, FakeProvider

WELL = Reply(text="It is forty-two, I think.")
QUICK = {"first_pause": 0.01, "breaker_failures": 3, "honoured_pause": 0}
PAUSE_S = 60.0
"""So long is a provider left alone where a test does not say otherwise: longer than a test takes."""
MODELS = """\
providers:
  first: {{kind: openai, api_key: {{env: KEY_1}}, base_url: "{first}"}}
  spare: {{kind: openai, api_key: {{env: KEY_2}}, base_url: "{spare}"}}
aliases:
  default: {{targets: [{{provider: first, model: m-1}}, {{provider: spare, model: m-2}}]}}
  alone: {{targets: [{{provider: first, model: m-1}}]}}
"""
KEYS = {"KEY_1": "sk-one-0123456789abcdef", "KEY_2": "sk-two-0123456789abcdef"}


@dataclass
class Two:
    """Two gateways before one provider, with another one to fall back on."""

    first: Provider
    spare: Provider
    houses: list[House]

    async def ask(self, times: int = 1, *, alias: str = "default") -> list[model.Chatted]:
        """Ask whichever gateway takes it, one after the other."""
        guest = self.houses[0].guest
        return [await guest.ask(model.CHAT, question(model=alias), deadline_s=90) for _ in range(times)]


@pytest.fixture
async def two(nats_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    """Two gateways, whose provider is well until it is told otherwise."""
    settings = QUICK | {"breaker_pause": getattr(request, "param", PAUSE_S)}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Provider(lambda _: WELL))
        spare = await stack.enter_async_context(Provider(lambda _: WELL))
        text = MODELS.format(first=first.url, spare=spare.url)
        houses: list[House] = []
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            house = opened(nats_url, "", folder, models=text, environment=KEYS, settings=settings)
            houses.append(await stack.enter_async_context(house))
        yield Two(first, spare, houses)


class TestTwoGateways:
    async def test_stop_asking_a_provider_that_is_down(self, two: Two) -> None:
        two.first.queue(*[failure(500, "oops")] * 1000)
        chatted = await two.ask(20)
        assert {each.model for each in chatted} == {"loopback-1"}
        assert two.spare.total == 20
        assert two.first.total <= 6

    @pytest.mark.parametrize("two", [0.2], indirect=True)
    async def test_send_one_call_to_try_it_and_then_all_again(self, two: Two) -> None:
        two.first.queue(*[failure(500, "oops")] * 3)
        await two.ask(1)
        asked = two.first.total
        await asyncio.sleep(0.3)
        two.first.may_end.clear()
        guest, spared = two.houses[0].guest, two.spare.total
        asks = [asyncio.create_task(guest.ask(model.CHAT, question(), deadline_s=90)) for _ in range(8)]
        async with asyncio.timeout(60):
            while two.spare.total < spared + 7:  # noqa: ASYNC110 - it only counts
                await asyncio.sleep(0.01)
        assert two.first.total == asked + 1
        two.first.may_end.set()
        await asyncio.gather(*asks)
        async with asyncio.timeout(20):  # the gateway that has not tried it hears of it a moment later
            while two.spare.total:
                two.spare.reset()
                await two.ask(4)
        assert two.first.total >= asked + 5

    async def test_ask_no_more_with_a_key_that_one_of_them_was_refused(self, two: Two) -> None:
        two.first.queue(*[failure(401, "no")] * 1000)
        await two.ask(12)
        assert two.first.total <= 2
        assert two.spare.total == 12

    async def test_refuse_at_once_when_there_is_no_other_way(self, two: Two) -> None:
        two.first.queue(*[failure(500, "oops")] * 3)
        with pytest.raises(errors.ModelUnavailable):
            await two.ask(alias="alone")
        asked = two.first.total
        with pytest.raises(errors.ModelUnavailable) as caught:
            await two.ask(alias="alone")
        assert two.first.total == asked
        assert "is not asked until" in caught.value.message
        assert caught.value.details["fault"] == "server_error"

    async def test_keep_no_key_where_others_see_it(self, two: Two) -> None:
        two.first.queue(*[failure(401, "no")] * 1000)
        await two.ask(2)
        js = two.houses[0].guest.js
        info = await js.stream_info(f"KV_{BREAKERS}")
        kept = await js.get_msg(f"KV_{BREAKERS}", seq=info.state.last_seq)
        written = f"{kept.subject} {kept.headers} {(kept.data or b'').decode()}"
        assert "KEY_1" in written
        assert KEYS["KEY_1"] not in written
        assert KEYS["KEY_1"][3:12] not in written


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class TestReplicas:
    """Breakers alone, each with its own connection."""

    COOL_S = 1.0

    @staticmethod
    def _route() -> Route:
        return Route(Target("first", "m-1"), FakeAccount("first.0123", FakeProvider()))

    async def test_let_exactly_one_call_of_all_try(self, nats_url: str) -> None:
        async with AsyncExitStack() as stack:
            clock = Clock()
            breakers = [await self._replica(stack, nats_url, clock) for _ in range(4)]
            await self._open(breakers[0])
            clock.now += self.COOL_S + 0.1
            calls = [each.enter(self._route()) for each in breakers for _ in range(10)]
            entered = [entry for entry in await asyncio.gather(*calls) if isinstance(entry, Entry)]
            assert len(entered) == 1

    async def test_hear_of_each_other_without_asking(self, nats_url: str) -> None:
        async with AsyncExitStack() as stack:
            one, other = [await self._replica(stack, nats_url, Clock()) for _ in range(2)]
            assert isinstance(await other.enter(self._route()), Entry)
            changed = asyncio.create_task(other.board.wait(20))
            await self._open(one)
            await changed
            assert isinstance(other.board.at("first.0123"), Out)

    async def test_go_on_by_themselves_while_nats_is_away(self, nats_server: NatsServer, nats_url: str) -> None:
        async with AsyncExitStack() as stack:
            clock = Clock()
            breakers = await self._replica(stack, nats_url, clock, shared_s=0.5)
            nats_server.pause()
            entry = await breakers.enter(self._route())
            assert isinstance(entry, Entry)
            entry.failed(Failed("server_error", provider="first"))
            assert isinstance(await breakers.enter(self._route()), Out)
            clock.now += self.COOL_S + 0.1
            assert isinstance(await breakers.enter(self._route()), Entry)
            assert isinstance(await breakers.enter(self._route()), Out)
            nats_server.resume()

    async def _replica(self, stack: AsyncExitStack, nats_url: str, clock: Clock, *, shared_s: float = 30) -> Breakers:
        bus = await stack.enter_async_context(connect("gateway", BusSettings.model_construct(url=nats_url)))
        outs = KeptOuts(bus)
        breakers = Breakers(outs, Rules(failures=1, cool_s=self.COOL_S, shared_s=shared_s), clock=clock)
        await stack.enter_async_context(outs.watched(breakers.board.heard))
        await bus.nc.flush()
        return breakers

    async def _open(self, breakers: Breakers) -> None:
        entry = await breakers.enter(self._route())
        assert isinstance(entry, Entry)
        entry.failed(Failed("server_error", provider="first"))
        await breakers.board.close()

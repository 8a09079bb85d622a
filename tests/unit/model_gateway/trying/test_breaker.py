"""Keys that are of no use now are not asked, in any replica, until one call has shown that they work again."""

import asyncio

import pytest

from natscope.contracts import errors
from natscope.contracts.contract import Contract
from services.model_gateway.ports import Piece
from services.model_gateway.trying.breaker import Breakers, Entry, Rules
from services.model_gateway.trying.faults import FAULTS, FaultName
from services.model_gateway.trying.outs import Found, Out
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import FakeProvider, Heard, answer, fault
from tests.unit.model_gateway.trying.trip import Trip, in_loop_time, keys, route

COOL_S = 0.3
RULES = Rules(window_s=10, failures=4, cool_s=5, coolest_s=20, probe_s=30, useless_s=300)
NO_FOOD: list[FaultName] = ["unknown_model", "bad_request", "forbidden", "content_filter", "context_too_long"]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class FakeOuts:
    """What replicas share, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Out, int]] = {}
        self.replicas: list[Breakers] = []
        self.reachable = True
        self.slow = False
        """Whether it takes a while until a write is acknowledged."""
        self.accepted = asyncio.Event()
        """Set when such a write is accepted."""

    async def read(self, id: str) -> Found:
        self._reach()
        return self.kept.get(id, (None, 0))

    async def write(self, id: str, out: Out, *, expect: int) -> int | None:
        self._reach()
        if self.kept.get(id, (None, 0))[1] != expect:
            return None
        self.kept[id] = (out, expect + 1)
        for replica in self.replicas:
            asyncio.get_running_loop().create_task(replica.board.heard(id, out))
        if self.slow:
            self.accepted.set()
            await asyncio.sleep(0.02)
        return expect + 1

    def _reach(self) -> None:
        if not self.reachable:
            raise ConnectionError("nobody there")


class House:
    """Some replicas with one clock and what they share."""

    def __init__(self, replicas: int = 1) -> None:
        self.clock = Clock()
        self.outs = FakeOuts()
        self.replicas = [Breakers(self.outs, RULES, clock=self.clock) for _ in range(replicas)]
        self.outs.replicas = self.replicas
        self.breakers = self.replicas[0]
        self.route = route(FakeProvider())

    async def enter(self, replica: int = 0, way: Route | None = None) -> Entry:
        entry = await self.replicas[replica].enter(way or self.route)
        assert isinstance(entry, Entry)
        return entry

    async def out(self, replica: int = 0, way: Route | None = None) -> Out | None:
        """Return why a route must not be asked, if it must not."""
        entry = await self.replicas[replica].enter(way or self.route)
        return entry if isinstance(entry, Out) else None

    async def fail(self, times: int = 4, name: FaultName = "server_error") -> None:
        for _ in range(times):
            (await self.enter()).failed(fault(name))
        await self.settle()

    async def settle(self) -> None:
        """Return when all replicas know what each knows."""
        for replica in self.replicas:
            await replica.board.close()
        await asyncio.sleep(0.01)

    async def open_and_cool(self) -> None:
        await self.fail()
        assert await self.out() is not None
        self.clock.now += RULES.cool_s


class TestOpening:
    @pytest.mark.parametrize("name", [name for name, each in FAULTS.items() if each.blame == "provider"])
    async def test_enough_failures_keep_further_calls_away(self, name: FaultName) -> None:
        house = House()
        await house.fail(3, name)
        assert await house.out() is None
        await house.fail(1, name)
        out = await house.out()
        assert out is not None
        assert (out.state, out.reason, out.until - house.clock.now) == ("open", name, 5)

    @pytest.mark.parametrize("name", NO_FOOD)
    async def test_what_the_provider_is_not_to_blame_for_never_does(self, name: FaultName) -> None:
        house = House()
        await house.fail(20, name)
        assert await house.out() is None

    async def test_failures_among_more_answers_do_not(self) -> None:
        house = House()
        for _ in range(20):
            (await house.enter()).answered()
        await house.fail(19)
        assert await house.out() is None

    async def test_failures_of_long_ago_do_not_count(self) -> None:
        house = House()
        await house.fail(3)
        house.clock.now += RULES.window_s + 1
        await house.fail(3)
        assert await house.out() is None

    async def test_one_key_does_not_answer_for_another(self) -> None:
        house = House()
        house.route, other = keys("m-1", FakeProvider(), FakeProvider())
        await house.fail()
        assert await house.out() is not None
        assert await house.out(way=other) is None


class TestTrying:
    async def test_exactly_one_call_tries_whether_it_works_again(self) -> None:
        house = House(3)
        await house.open_and_cool()
        entries = await asyncio.gather(*(each.enter(house.route) for each in house.replicas for _ in range(5)))
        assert sum(isinstance(entry, Entry) for entry in entries) == 1

    async def test_its_answer_lets_all_replicas_ask_again(self) -> None:
        house = House(2)
        await house.open_and_cool()
        (await house.enter(1)).answered()
        await house.settle()
        assert [await house.out(replica) for replica in range(2)] == [None, None]

    async def test_a_refusal_of_what_it_asked_shows_as_well_that_the_provider_is_there(self) -> None:
        house = House()
        await house.open_and_cool()
        (await house.enter()).failed(fault("bad_request"))
        assert await house.out() is None

    async def test_each_time_it_fails_the_pause_is_twice_as_long_up_to_the_longest(self) -> None:
        house = House()
        await house.fail()
        pauses: list[float] = []
        for _ in range(4):
            out = await house.out()
            assert out is not None
            pauses.append(out.until - house.clock.now)
            house.clock.now = out.until
            (await house.enter()).failed(fault("server_error"))
            await house.settle()
        assert pauses == [5, 10, 20, 20]

    async def test_a_call_that_was_broken_off_lets_the_next_one_try(self) -> None:
        house = House(2)
        await house.open_and_cool()
        (await house.enter(0)).left()
        await house.settle()
        assert isinstance(await house.replicas[1].enter(house.route), Entry)

    async def test_a_call_that_was_broken_off_while_it_asked_for_leave_lets_the_next_one_try(self) -> None:
        house = House(replicas=2)
        await house.open_and_cool()
        house.outs.slow = True
        asking = asyncio.create_task(house.enter())
        await house.outs.accepted.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        house.outs.slow = False
        await asyncio.sleep(0.05)
        await house.settle()
        await asyncio.sleep(0.1)
        await house.enter(replica=1)

    async def test_a_replica_that_died_while_it_tried_is_replaced_after_a_while(self) -> None:
        house = House(2)
        await house.open_and_cool()
        await house.enter(0)
        await house.settle()
        assert await house.out(1) is not None
        house.clock.now += RULES.probe_s
        assert await house.out(1) is None


class TestSharing:
    async def test_what_one_replica_opened_is_closed_to_the_others(self) -> None:
        house = House(2)
        assert await house.out(1) is None
        await house.fail()
        out = await house.out(1)
        assert out is not None
        assert (out.provider, out.key) == ("fake", "FAKE")

    async def test_a_replica_that_starts_later_knows_it_too(self) -> None:
        house = House()
        await house.fail()
        late = Breakers(house.outs, RULES, clock=house.clock)
        assert isinstance(await late.enter(house.route), Out)

    async def test_without_what_is_shared_each_replica_goes_by_itself(self) -> None:
        house = House(2)
        house.outs.reachable = False
        await house.open_and_cool()
        first, second = await house.breakers.enter(house.route), await house.breakers.enter(house.route)
        assert (isinstance(first, Entry), isinstance(second, Entry)) == (True, False)
        assert await house.out(1) is None

    async def test_it_is_shared_again_once_it_can_be(self) -> None:
        house = House(2)
        house.outs.reachable = False
        await house.open_and_cool()
        house.outs.reachable = True
        (await house.enter()).failed(fault("server_error"))
        await house.settle()
        late = Breakers(house.outs, RULES, clock=house.clock)
        assert isinstance(await late.enter(house.route), Out)


class TestKeysOfNoUse:
    @pytest.mark.parametrize("name", ["bad_key", "quota", "no_balance"])
    async def test_rest_for_long_after_the_first_refusal(self, name: FaultName) -> None:
        house = House(2)
        await house.fail(1, name)
        out = await house.out(1)
        assert out is not None
        assert (out.state, out.reason, out.until - house.clock.now) == ("resting", name, RULES.useless_s)
        house.clock.now += RULES.useless_s
        assert await house.out(1) is None

    async def test_a_call_that_has_no_other_way_may_ask_all_the_same_one_at_a_time(self) -> None:
        house = House()
        await house.fail(1, "bad_key")
        entries = [await house.breakers.enter(house.route, insist=True) for _ in range(3)]
        assert [isinstance(entry, Entry) for entry in entries] == [True, False, False]

    async def test_its_answer_ends_the_rest(self) -> None:
        house = House(2)
        await house.fail(1, "no_balance")
        entry = await house.breakers.enter(house.route, insist=True)
        assert isinstance(entry, Entry)
        entry.answered()
        await house.settle()
        assert [await house.out(replica) for replica in range(2)] == [None, None]

    async def test_nobody_may_insist_on_a_provider_that_is_down(self) -> None:
        house = House()
        await house.fail()
        assert isinstance(await house.breakers.enter(house.route, insist=True), Out)


class TestLimits:
    async def test_a_key_that_is_limited_rests_for_as_long_as_the_provider_says(self) -> None:
        house = House(2)
        (await house.enter()).failed(fault("rate_limit", retry_after_s=40))
        await house.settle()
        out = await house.out(1)
        assert out is not None
        assert (out.reason, out.until - house.clock.now) == ("rate_limit", 40)
        house.clock.now += 40
        assert await house.out(1) is None

    async def test_another_model_with_the_same_key_may_be_asked(self) -> None:
        house = House()
        account = house.route.account
        (await house.enter()).failed(fault("rate_limit", retry_after_s=40))
        other = Route(route(FakeProvider(), model="m-2").target, account)
        assert await house.out(way=other) is None

    async def test_a_provider_that_asks_for_days_is_asked_again_sooner(self) -> None:
        house = House()
        (await house.enter()).failed(fault("rate_limit", retry_after_s=86_400))
        house.clock.now += RULES.longest_s
        assert await house.out() is None


class TestCalls:
    """The loop with breakers."""

    async def test_pass_over_a_key_that_is_out(self) -> None:
        breakers = in_loop_time()
        first = FakeProvider(fault("bad_key"))
        ways = [route(first, "a"), route(FakeProvider(), "b")]
        trip = Trip(breakers=breakers)
        assert [(await trip.run(ways)).attempts for _ in range(3)] == [2, 1, 1]
        assert len(first.prompts) == 1

    async def test_are_refused_at_once_when_every_target_is_out_for_long(self) -> None:
        breakers = in_loop_time(Rules(failures=1, cool_s=60))
        provider = FakeProvider(fault("server_error"))
        trip = Trip(breakers=breakers)
        with pytest.raises(errors.ModelUnavailable):
            await trip.run([route(provider)])
        with pytest.raises(errors.ModelUnavailable) as caught:
            await trip.run([route(provider)])
        assert len(provider.prompts) == 1
        assert "is not asked until" in caught.value.message
        assert caught.value.details["passed_over"] == [{"target": "fake/m-1", "key": "FAKE", "fault": "server_error"}]

    async def test_wait_for_a_target_that_is_out_for_a_moment(self) -> None:
        breakers = in_loop_time(Rules(failures=1, cool_s=COOL_S))
        provider = FakeProvider(fault("server_error"))
        trip = Trip(breakers=breakers)
        with pytest.raises(errors.ModelUnavailable):
            await trip.run([route(provider)])
        assert (await trip.run([route(provider)])).value == answer()

    async def test_all_wait_for_the_one_that_tries(self) -> None:
        breakers = in_loop_time(Rules(failures=1, cool_s=COOL_S))
        provider = FakeProvider(fault("server_error"), 0.1, answer())
        trip = Trip(breakers=breakers)
        with pytest.raises(errors.ModelUnavailable):
            await trip.run([route(provider)])
        outcomes = await asyncio.gather(*(trip.run([route(provider)]) for _ in range(5)))
        assert [outcome.value for outcome in outcomes] == [answer()] * 5

    async def test_ask_a_refused_key_again_when_there_is_no_other(self) -> None:
        trip = Trip(breakers=in_loop_time())
        provider = FakeProvider(fault("bad_key"))
        with pytest.raises(errors.CredentialRefused):
            await trip.run([route(provider)])
        assert (await trip.run([route(provider)])).value == answer()

    async def test_that_are_cancelled_let_the_next_one_try(self) -> None:
        breakers = in_loop_time(Rules(failures=1, cool_s=COOL_S))
        provider = FakeProvider(fault("server_error"), 60.0)
        trip = Trip(breakers=breakers)
        with pytest.raises(errors.ModelUnavailable):
            await trip.run([route(provider)])
        trying = asyncio.create_task(trip.run([route(provider)]))
        await provider.busy.wait()
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        assert (await trip.run([route(provider)])).value == answer()

    async def test_that_are_cancelled_before_they_ask_let_the_next_one_try(self) -> None:
        breakers = in_loop_time(Rules(failures=1, cool_s=COOL_S))
        down = route(FakeProvider(fault("server_error")), "down")
        cut = route(FakeProvider(Piece("text", 0, "Mayb"), fault("cut")), "cut")
        trip = Trip(breakers=breakers)
        with pytest.raises(errors.ModelUnavailable):
            await trip.run([down])
        await asyncio.sleep(COOL_S + 0.1)
        heard = trip.heard = StuckAtResets()
        trying = asyncio.create_task(trip.run([cut, down], stream=True))
        await heard.stuck.wait()
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        assert (await trip.run([down])).value == answer()


class StuckAtResets(Heard):
    """Never comes to an end with telling that what was heard is void."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = asyncio.Event()

    async def say(self, subject: str, body: Contract) -> None:
        await super().say(subject, body)
        if self.deltas[-1].kind == "reset":
            self.stuck.set()
            await asyncio.Event().wait()

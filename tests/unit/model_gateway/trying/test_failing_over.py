"""Trying elsewhere: the next key, the next target, and what is told when none is left."""

import pytest

from natscope.contracts import errors
from services.model_gateway.ports import Piece
from services.model_gateway.trying.attempts import Outcome
from services.model_gateway.trying.course import Patience
from services.model_gateway.trying.faults import FAULTS, Failed, FaultName
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import FakeProvider, answer, fault
from tests.unit.model_gateway.trying.trip import Trip, keys, rejoined, route

GOES_OVER = [name for name, each in FAULTS.items() if each.reaction not in ("tell", "larger")]


def _down(name: FaultName = "server_error") -> FakeProvider:
    return FakeProvider(*[fault(name)] * 9)


class TestTheNextTarget:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("name", GOES_OVER)
    async def test_answers_for_one_that_keeps_failing(self, name: FaultName, stream: bool) -> None:
        outcome = await Trip().run([route(_down(name), "a"), route(FakeProvider(), "b")], stream=stream)
        assert (outcome.value, outcome.route.target.provider) == (answer(), "b")

    @pytest.mark.parametrize(
        ("name", "stream", "asked"),
        [
            ("server_error", False, 3),
            ("not_json", False, 2),
            ("stall", False, 1),
            ("bad_key", False, 1),
            ("unknown_model", False, 1),
            ("cut", False, 3),
            ("cut", True, 1),
            ("truncated", True, 1),
        ],
    )
    async def test_is_asked_after_so_many_tries(self, name: FaultName, stream: bool, asked: int) -> None:
        first = _down(name)
        outcome = await Trip().run([route(first, "a"), route(FakeProvider(), "b")], stream=stream)
        assert (len(first.prompts), outcome.attempts) == (asked, asked + 1)

    @pytest.mark.parametrize("name", [name for name in FAULTS if name not in GOES_OVER])
    async def test_is_not_asked_what_would_be_refused_again(self, name: FaultName) -> None:
        second = FakeProvider()
        with pytest.raises(FAULTS[name].error):
            await Trip().run([route(_down(name), "a"), route(second, "b")])
        assert second.prompts == []

    async def test_is_asked_what_another_ones_policy_refuses_if_the_alias_says_so(self) -> None:
        ways = [route(_down("content_filter"), "a"), route(FakeProvider(), "b")]
        assert (await Trip().run(ways, filtered_goes_on=True)).attempts == 2

    async def test_is_asked_a_prompt_that_was_too_long_only_if_its_window_is_larger(self) -> None:
        small, large = FakeProvider(), FakeProvider()
        first = route(_down("context_too_long"), "a", context_size=1000)
        ways = [first, route(small, "b", context_size=1000), route(large, "c", context_size=2000)]
        assert (await Trip().run(ways)).route.target.provider == "c"
        assert small.prompts == []

    async def test_is_asked_at_once_when_the_first_asks_to_wait_for_too_long(self) -> None:
        limited = FakeProvider(fault("rate_limit", retry_after_s=60))
        assert (await Trip().run([route(limited, "a"), route(FakeProvider(), "b")])).attempts == 2

    async def test_may_be_the_same_model_again(self) -> None:
        provider = FakeProvider(fault("bad_key"), fault("bad_key"))
        outcome = await Trip().run([route(provider, "a"), route(provider, "a2"), route(provider, "a3")])
        assert outcome.attempts == 3

    async def test_is_asked_when_the_first_keeps_silent(self) -> None:
        silent = FakeProvider(60.0)
        outcome = await Trip().run([route(silent, "a", patience_s=0.05), route(FakeProvider(), "b")])
        assert (outcome.route.target.provider, silent.cancelled) == ("b", 1)

    async def test_is_not_asked_for_one_that_has_begun_to_speak(self) -> None:
        slow = FakeProvider(Piece("text", 0, "Y"), 0.2, Piece("text", 0, "es."), answer())
        outcome = await Trip().run([route(slow, "a", patience_s=0.05), route(FakeProvider(), "b")], stream=True)
        assert outcome.route.target.provider == "a"

    async def test_leaves_the_last_one_all_the_time_there_is(self) -> None:
        slow = FakeProvider(0.2, answer())
        assert (await Trip().run([route(slow, "a", patience_s=0.05)])).attempts == 1

    async def test_takes_back_what_the_first_one_said(self) -> None:
        trip = Trip()
        first = FakeProvider(Piece("text", 0, "Mayb"), fault("truncated"))
        second = FakeProvider(Piece("text", 0, "Yes."), answer())
        await trip.run([route(first, "a"), route(second, "b")], stream=True)
        assert [delta.kind for delta in trip.heard.deltas] == ["text", "reset", "text"]
        assert rejoined(trip.heard.deltas) == "Yes."


class TestTheNextKey:
    @pytest.mark.parametrize("name", ["rate_limit", "quota", "no_balance", "bad_key", "forbidden"])
    async def test_is_asked_before_the_next_target(self, name: FaultName) -> None:
        first, second, other = _down(name), FakeProvider(), FakeProvider()
        outcome = await Trip().run([*keys("m-1", first, second), route(other, "other")])
        assert (len(first.prompts), len(second.prompts), len(other.prompts)) == (1, 1, 0)
        assert outcome.route.account.key == "FAKE-1"

    @pytest.mark.parametrize("name", ["server_error", "unknown_model"])
    async def test_is_no_way_around_what_no_key_mends(self, name: FaultName) -> None:
        second = FakeProvider()
        outcome = await Trip().run([*keys("m-1", _down(name), second), route(FakeProvider(), "other")])
        assert (outcome.route.target.provider, second.prompts) == ("other", [])

    async def test_is_waited_for_if_all_are_limited(self) -> None:
        first = FakeProvider(fault("rate_limit", retry_after_s=60))
        second = FakeProvider(fault("rate_limit", retry_after_s=0.05))
        outcome = await Trip().run(keys("m-1", first, second))
        assert (outcome.attempts, len(second.prompts)) == (3, 2)


class TestRefusalsOfOurs:
    @staticmethod
    async def _run(error: errors.NatscopeError) -> Outcome[str]:
        async def once(way: Route, timeout_s: float, attempt: int) -> str:
            if way.target.provider == "a":
                raise error
            return "yes"

        trip = Trip()
        return await trip._attempts.run([route(FakeProvider(), "a"), route(FakeProvider(), "b")], once, deadline_s=5)

    @pytest.mark.parametrize("kind", [errors.RateLimited, errors.BudgetExhausted])
    @pytest.mark.parametrize("scope", ["provider", "model"])
    async def test_that_hold_for_one_provider_lead_to_the_next_target(
        self, kind: type[errors.NatscopeError], scope: str
    ) -> None:
        assert (await self._run(kind("full", details={"scope": scope}))).value == "yes"

    @pytest.mark.parametrize("kind", [errors.RateLimited, errors.BudgetExhausted])
    async def test_that_hold_for_the_asker_are_told(self, kind: type[errors.NatscopeError]) -> None:
        with pytest.raises(kind, match="full"):
            await self._run(kind("full", details={"scope": "tenant"}))


class TestTheError:
    @staticmethod
    async def _told(*ways: Route) -> errors.NatscopeError:
        with pytest.raises(errors.NatscopeError) as caught:
            await Trip(patience=Patience(first_s=0.001)).run(ways)
        return caught.value

    async def test_says_what_every_target_said(self) -> None:
        told = await self._told(route(_down("bad_key"), "a"), route(_down("overloaded"), "b", model="m-2"))
        assert "does not accept the key (model 'm-1')" in told.message
        assert "is overloaded (model 'm-2', 3 attempts)" in told.message

    async def test_names_the_tier_the_attempts_and_why(self) -> None:
        told = await self._told(route(_down("bad_key"), "a"), route(_down("not_json"), "b"))
        assert told.details["tier"] == 1
        assert told.details["attempts"] == [
            {"target": "a/m-1", "key": "A", "fault": "bad_key"},
            {"target": "b/m-1", "key": "B", "fault": "not_json"},
            {"target": "b/m-1", "key": "B", "fault": "not_json"},
        ]
        assert told.details["why"] == "3 attempts at 2 targets failed, and none is left"

    async def test_may_be_asked_again_if_any_target_may_answer_later(self) -> None:
        told = await self._told(route(_down("overloaded"), "a"), route(_down("bad_key"), "b"))
        assert type(told) is errors.ModelUnavailable
        assert told.details["fault"] == "overloaded"

    async def test_is_the_last_ones_if_none_may(self) -> None:
        told = await self._told(route(_down("unknown_model"), "a"), route(_down("bad_key"), "b"))
        assert type(told) is errors.CredentialRefused

    async def test_does_not_carry_the_providers_exception(self) -> None:
        told = await self._told(route(_down("bad_key"), "a"))
        assert told.__cause__ is None
        assert not isinstance(told.__context__, Failed)

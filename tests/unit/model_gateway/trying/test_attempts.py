"""Trying until there is an answer, or none to be hoped for: one target with one key."""

import asyncio

import pytest

from natscope.contracts import errors
from services.model_gateway.ports import Piece
from services.model_gateway.trying.course import Patience
from services.model_gateway.trying.faults import FAULTS, FaultName
from tests.unit.model_gateway.fakes import answer, fault
from tests.unit.model_gateway.trying.trip import Trial, rejoined


def _with(*reactions: str) -> list[FaultName]:
    return [name for name, each in FAULTS.items() if each.reaction in reactions]


class TestAttempts:
    @pytest.mark.parametrize("name", _with("again", "wait", "elsewhere"))
    @pytest.mark.parametrize("stream", [False, True])
    async def test_what_may_pass_is_tried_again(self, name: FaultName, stream: bool) -> None:
        trial = Trial(fault(name), fault(name), answer())
        assert (await trial.ask(stream=stream)) == answer()
        assert len(trial.provider.prompts) == 3

    @pytest.mark.parametrize("name", _with("tell", "over", "larger"))
    async def test_what_will_not_pass_is_told_at_once(self, name: FaultName) -> None:
        trial = Trial(fault(name))
        with pytest.raises(FAULTS[name].error, match=r"'fake'.*'m-1'"):
            await trial.ask()
        assert len(trial.provider.prompts) == 1

    @pytest.mark.parametrize("name", _with("once"))
    async def test_an_answer_that_cannot_be_read_is_asked_for_once_more(self, name: FaultName) -> None:
        trial = Trial(fault(name), fault(name))
        with pytest.raises(errors.ReplyInvalid):
            await trial.ask()
        assert len(trial.provider.prompts) == 2

    async def test_gives_up_after_the_last_attempt_and_says_how_many_there_were(self) -> None:
        trial = Trial(*[fault("server_error")] * 5)
        with pytest.raises(errors.ModelUnavailable, match="3 attempts") as caught:
            await trial.ask()
        assert caught.value.details["fault"] == "server_error"
        assert caught.value.retryable
        assert len(trial.provider.prompts) == 3

    async def test_waits_as_long_as_the_provider_asks(self) -> None:
        trial = Trial(fault("rate_limit", retry_after_s=0.2), answer())
        began = asyncio.get_running_loop().time()
        await trial.ask()
        assert asyncio.get_running_loop().time() - began >= 0.2

    async def test_does_not_wait_for_a_provider_that_asks_too_long(self) -> None:
        trial = Trial(fault("rate_limit", retry_after_s=60), answer())
        with pytest.raises(errors.ModelUnavailable) as caught:
            await trial.ask()
        assert caught.value.details["retry_after_s"] == 60
        assert len(trial.provider.prompts) == 1

    async def test_does_not_wait_past_the_deadline(self) -> None:
        trial = Trial(fault("rate_limit", retry_after_s=3), answer(), patience=Patience(), deadline_s=1)
        with pytest.raises(errors.ModelUnavailable):
            await trial.ask()
        assert len(trial.provider.prompts) == 1

    async def test_breaks_off_at_the_deadline(self) -> None:
        trial = Trial(60.0, deadline_s=0.05)
        with pytest.raises(errors.DeadlineExceeded, match=r"'fake'.*0\.05 s.*'m-1'") as caught:
            await trial.ask()
        assert trial.provider.cancelled == 1
        assert caught.value.details["tier"] == 1

    async def test_tells_the_provider_how_long_it_has(self) -> None:
        trial = Trial(deadline_s=2)
        await trial.ask()
        assert 0 < trial.provider.prompts[0].timeout_s <= 2


class TestPatience:
    def test_pauses_grow_up_to_the_longest(self) -> None:
        patience = Patience(first_s=0.25, longest_s=4.0)
        assert [patience.pause_s(tries, 1.0, draw=lambda: 1.0) for tries in range(1, 7)] == [0.25, 0.5, 1, 2, 4, 4]

    def test_pauses_are_drawn_from_nothing_on(self) -> None:
        assert Patience().pause_s(3, 1.0, draw=lambda: 0.0) == 0

    def test_pauses_are_shorter_while_somebody_else_could_be_asked(self) -> None:
        patience = Patience(first_s=0.25, hurried_s=0.1)
        assert patience.pause_s(1, 1.0, is_last=False, draw=lambda: 1.0) == 0.1

    def test_an_overloaded_provider_is_given_more_time(self) -> None:
        overloaded, failed = FAULTS["overloaded"].slowness, FAULTS["server_error"].slowness
        assert Patience().pause_s(1, overloaded, draw=lambda: 1.0) > Patience().pause_s(1, failed, draw=lambda: 1.0)


class TestDeltas:
    async def test_carry_the_text_in_order_without_a_gap(self) -> None:
        trial = Trial(Piece("text", 0, "Y"), Piece("text", 0, "es."), answer())
        await trial.ask(stream=True)
        assert rejoined(trial.heard.deltas) == "Yes."

    async def test_of_a_failed_attempt_are_taken_back_before_the_next_one(self) -> None:
        first = (Piece("text", 0, "Mayb"), fault("cut"))
        trial = Trial(*first, *first, Piece("text", 0, "Yes."), answer())
        await trial.ask(stream=True)
        assert [delta.kind for delta in trial.heard.deltas] == ["text", "reset", "text", "reset", "text"]
        assert rejoined(trial.heard.deltas) == "Yes."

    async def test_say_nothing_of_an_attempt_that_failed_before_its_first_piece(self) -> None:
        trial = Trial(fault("overloaded"), Piece("text", 0, "Yes."), answer())
        await trial.ask(stream=True)
        assert [(delta.kind, delta.attempt, delta.sequence) for delta in trial.heard.deltas] == [("text", 1, 0)]

    async def test_name_a_calls_id_and_tool(self) -> None:
        trial = Trial(Piece("tool_use", 0, call_id="c", tool="look"), Piece("tool_use", 0, "{}"), answer())
        await trial.ask(stream=True)
        first, second = trial.heard.deltas
        assert (first.call_id, first.tool, second.call_id, second.text) == ("c", "look", None, "{}")


class TestSpans:
    async def test_each_attempt_is_a_span_with_its_fault_and_what_follows(self) -> None:
        trial = Trial(fault("overloaded"), answer())
        await trial.ask()
        failed, done = trial.spans.get_finished_spans()
        assert failed.attributes is not None
        assert done.attributes is not None
        assert failed.attributes["natscope.fault"] == "overloaded"
        assert failed.attributes["natscope.reaction"] == "again"
        assert failed.attributes["error.type"] == "model_unavailable"
        assert not failed.status.is_ok
        assert (failed.attributes["natscope.attempt"], done.attributes["natscope.attempt"]) == (1, 2)
        assert done.attributes["gen_ai.request.model"] == "m-1"
        assert done.attributes["server.address"] == "fake.example"
        assert "error.type" not in done.attributes

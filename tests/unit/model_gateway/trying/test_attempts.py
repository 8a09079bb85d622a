"""Trying until there is an answer, or none to be hoped for."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.contracts import errors
from natscope.contracts.model import Delta
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.deltas import Deltas
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.attempts import Attempts, Patience
from services.model_gateway.trying.faults import FAULTS, FaultName
from tests.unit.model_gateway.fakes import Act, FakeProvider, Heard, answer, fault, question

TARGET = Target("fake", "m-1")


class Trial:
    """One provider, asked through the loop, with what was heard and traced."""

    def __init__(self, *acts: Act, deadline_s: float = 5.0, attempts: int = 3) -> None:
        self.provider = FakeProvider(*acts)
        self.heard = Heard()
        self.spans = InMemorySpanExporter()
        telemetry = telemetry_for(
            "test",
            TelemetrySettings.model_construct(endpoint=None, disabled=False),
            processors=[SimpleSpanProcessor(self.spans)],
        )
        self._attempts = Attempts(telemetry, Patience(deadline_s, attempts=attempts, first_s=0.01))

    async def run(self, *, stream: bool = False) -> Reply:
        deltas = Deltas(self.heard.say, "deltas") if stream else None
        return await self._attempts.run(question(), TARGET, self.provider, deltas=deltas)


def _rejoined(deltas: list[Delta]) -> str:
    """Return the text as a listener has it that follows the rules of `Delta`."""
    text, attempt, following = "", 1, 0
    for delta in deltas:
        if delta.kind == "reset":
            text, attempt, following = "", delta.attempt, 0
        assert (delta.attempt, delta.sequence) == (attempt, following)
        text, following = text + delta.text, following + 1
    return text


class TestAttempts:
    @pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.reaction in ("again", "wait")])
    async def test_what_may_pass_is_tried_again(self, name: FaultName) -> None:
        trial = Trial(fault(name), fault(name), answer())
        assert (await trial.run()) == answer()
        assert len(trial.provider.prompts) == 3

    @pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.reaction == "tell"])
    async def test_what_will_not_pass_is_told_at_once(self, name: FaultName) -> None:
        trial = Trial(fault(name))
        with pytest.raises(FAULTS[name].error, match=r"'fake'.*'m-1'"):
            await trial.run()
        assert len(trial.provider.prompts) == 1

    @pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.reaction == "once"])
    async def test_an_answer_that_cannot_be_read_is_asked_for_once_more(self, name: FaultName) -> None:
        trial = Trial(fault(name), fault(name))
        with pytest.raises(errors.ReplyInvalid):
            await trial.run()
        assert len(trial.provider.prompts) == 2

    async def test_gives_up_after_the_last_attempt_and_says_how_many_there_were(self) -> None:
        trial = Trial(*[fault("server_error")] * 5)
        with pytest.raises(errors.ModelUnavailable, match="3 attempts") as caught:
            await trial.run()
        assert caught.value.details["fault"] == "server_error"
        assert caught.value.retryable
        assert len(trial.provider.prompts) == 3

    async def test_waits_as_long_as_the_provider_asks(self) -> None:
        trial = Trial(fault("rate_limit", retry_after_s=0.2), answer())
        began = asyncio.get_running_loop().time()
        await trial.run()
        assert asyncio.get_running_loop().time() - began >= 0.2

    async def test_does_not_wait_for_a_provider_that_asks_too_long(self) -> None:
        trial = Trial(fault("rate_limit", retry_after_s=60), answer())
        with pytest.raises(errors.ModelUnavailable):
            await trial.run()
        assert len(trial.provider.prompts) == 1

    async def test_does_not_wait_past_the_deadline(self) -> None:
        trial = Trial(fault("rate_limit", retry_after_s=3), answer(), deadline_s=1)
        with pytest.raises(errors.ModelUnavailable):
            await trial.run()
        assert len(trial.provider.prompts) == 1

    async def test_breaks_off_at_the_deadline(self) -> None:
        trial = Trial(60.0, deadline_s=0.05)
        with pytest.raises(errors.DeadlineExceeded, match=r"0\.05 s"):
            await trial.run()
        assert trial.provider.cancelled == 1

    async def test_tells_the_provider_how_long_it_has(self) -> None:
        trial = Trial(deadline_s=2)
        await trial.run()
        assert 0 < trial.provider.prompts[0].timeout_s <= 2


class TestDeltas:
    async def test_carry_the_text_in_order_without_a_gap(self) -> None:
        trial = Trial(Piece("text", 0, "Y"), Piece("text", 0, "es."), answer())
        await trial.run(stream=True)
        assert _rejoined(trial.heard.deltas) == "Yes."

    async def test_of_a_failed_attempt_are_taken_back_before_the_next_one(self) -> None:
        first = (Piece("text", 0, "Mayb"), fault("cut"))
        trial = Trial(*first, *first, Piece("text", 0, "Yes."), answer())
        await trial.run(stream=True)
        assert [delta.kind for delta in trial.heard.deltas] == ["text", "reset", "text", "reset", "text"]
        assert _rejoined(trial.heard.deltas) == "Yes."

    async def test_say_nothing_of_an_attempt_that_failed_before_its_first_piece(self) -> None:
        trial = Trial(fault("overloaded"), Piece("text", 0, "Yes."), answer())
        await trial.run(stream=True)
        assert [(delta.kind, delta.attempt, delta.sequence) for delta in trial.heard.deltas] == [("text", 1, 0)]

    async def test_name_a_calls_id_and_tool(self) -> None:
        trial = Trial(Piece("tool_use", 0, call_id="c", tool="look"), Piece("tool_use", 0, "{}"), answer())
        await trial.run(stream=True)
        first, second = trial.heard.deltas
        assert (first.call_id, first.tool, second.call_id, second.text) == ("c", "look", None, "{}")


class TestSpans:
    async def test_each_attempt_is_a_span_with_its_fault(self) -> None:
        trial = Trial(fault("overloaded"), answer())
        await trial.run()
        failed, done = trial.spans.get_finished_spans()
        assert failed.attributes is not None
        assert done.attributes is not None
        assert failed.attributes["natscope.fault"] == "overloaded"
        assert failed.attributes["error.type"] == "model_unavailable"
        assert not failed.status.is_ok
        assert (failed.attributes["natscope.attempt"], done.attributes["natscope.attempt"]) == (1, 2)
        assert done.attributes["server.address"] == "fake.example"
        assert "error.type" not in done.attributes

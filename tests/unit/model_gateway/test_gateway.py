"""Answering a chat: the right model, once for each request id, and seen from outside."""

import asyncio
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.contracts.blocks import ImageBlock, URLSource
from natscope.contracts.errors import BudgetExhausted, ContentRefused, ModelNotFound, Refused
from natscope.contracts.message import Message
from natscope.contracts.model import Chatted
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.accounting.tokens import Estimator
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.gateway import Gateway, Kept
from services.model_gateway.media import Shelf
from services.model_gateway.ports import Piece
from services.model_gateway.talking import Talker
from services.model_gateway.trying.attempts import Attempts
from services.model_gateway.trying.course import Patience
from services.model_gateway.ways import Ways
from tests.unit.model_gateway.fakes import (
    Act,
    FakeAccounts,
    FakeBlobs,
    FakeLedger,
    FakeProvider,
    Heard,
    answer,
    fault,
    question,
)
from tests.unit.model_gateway.making_fakes import FakeCharges, FakeReused, FakeStore

MODELS = """\
providers:
  fake: {kind: scripted}
  second: {kind: scripted}
aliases:
  default:
    targets: [{provider: fake, model: m-1}]
  chain:
    targets: [{provider: fake, model: m-1}, {provider: second, model: m-2}]
"""


class House:
    """A gateway with stand-ins all around it."""

    def __init__(self, folder: Path, *acts: Act) -> None:
        path = folder / "models.yaml"
        path.write_text(MODELS)
        self.provider = FakeProvider(*acts)
        self.second = FakeProvider()
        self.ledger = FakeLedger()
        self.reused = FakeReused()
        self.heard = Heard()
        self.blobs = FakeBlobs(a=b"png")
        self._spans = InMemorySpanExporter()
        telemetry = telemetry_for(
            "test",
            TelemetrySettings.model_construct(endpoint=None, disabled=False),
            processors=[SimpleSpanProcessor(self._spans)],
        )
        models = Models(path, {})
        attempts = Attempts(telemetry, Patience(first_s=0.01))
        self.charges = FakeCharges()
        self.gateway = Gateway(
            models,
            Ways(models, FakeAccounts(fake=[self.provider], second=[self.second])),
            Talker(models, attempts, self.charges, Estimator(), deadline_s=5),
            kept=Kept(self.ledger, self.reused),
            shelf=Shelf(self.blobs, 1000),
            store=FakeStore(),
            say=self.heard.say,
            telemetry=telemetry,
        )

    def span(self, name: str) -> ReadableSpan:
        return next(span for span in self._spans.get_finished_spans() if span.name == name)

    def attributes(self, name: str) -> dict[str, object]:
        return dict(self.span(name).attributes or {})


class TestChat:
    async def test_the_answer_is_the_assistants_message(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        chatted = await house.gateway.chat(question(agent="ann"))
        assert (chatted.message.role, chatted.message.name, chatted.message.text) == ("assistant", "ann", "Yes.")
        assert (chatted.provider, chatted.model, chatted.response_id) == ("fake", "m-1-full", "r-1")
        assert (chatted.usage.input_tokens, chatted.usage.output_tokens) == (3, 2)
        assert house.provider.prompts[0].model == "m-1"

    async def test_the_same_request_again_is_answered_from_the_record(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        ask = question(request_id="r")
        first, second = await house.gateway.chat(ask), await house.gateway.chat(ask)
        assert (first.replayed, second.replayed) == (False, True)
        assert second.message == first.message
        assert len(house.provider.prompts) == 1

    async def test_room_is_reserved_once_for_an_answer_and_given_back_if_it_was_recorded(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        ask = question(request_id="r")
        await house.gateway.chat(ask)
        assert [charge.state for charge in house.charges.held] == ["settled"]
        await house.gateway.chat(ask)
        await asyncio.sleep(0)
        assert "held" not in [charge.state for charge in house.charges.held[1:]]

    async def test_what_was_recorded_is_given_though_there_is_no_room_for_more(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        ask = question(request_id="r")
        await house.gateway.chat(ask)
        house.charges.refusal = BudgetExhausted("no room", details={"scope": "tenant"})
        assert (await house.gateway.chat(ask)).replayed
        with pytest.raises(BudgetExhausted):
            await house.gateway.chat(question(request_id="other"))

    async def test_a_failed_request_is_not_recorded_and_may_be_asked_again(self, tmp_path: Path) -> None:
        house = House(tmp_path, fault("content_filter"), answer())
        ask = question(request_id="r")
        with pytest.raises(ContentRefused):
            await house.gateway.chat(ask)
        assert not (await house.gateway.chat(ask)).replayed

    async def test_an_unknown_alias_is_refused_before_anything_is_asked(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        with pytest.raises(ModelNotFound, match="'nope'"):
            await house.gateway.chat(question(model="nope"))
        assert house.provider.prompts == []

    async def test_a_subject_for_deltas_makes_it_stream(self, tmp_path: Path) -> None:
        house = House(tmp_path, Piece("text", 0, "Yes."), answer())
        await house.gateway.chat(question(deltas_to="deltas.here"))
        assert [(delta.kind, delta.text) for delta in house.heard.deltas] == [("text", "Yes."), ("end", "")]
        assert house.heard.deltas[-1].finish_reason == "stop"

    async def test_blobs_are_inline_when_the_provider_is_asked(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        image = ImageBlock(source=URLSource(url="nats://blob/blobs/a", media_type="image/png", size_bytes=3))
        message = Message(name="user", role="user", content=[image])
        await house.gateway.chat(question().model_copy(update={"messages": [message]}))
        assert house.blobs.loaded == ["nats://blob/blobs/a"]
        assert "base64" in house.provider.prompts[0].ask.model_dump_json()

    async def test_a_request_that_its_asker_cancelled_is_answered_so(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        house.ledger.once = _cancelled  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(Refused, match="cancelled"):
            await house.gateway.chat(question())

    async def test_its_own_cancellation_stays_one(self, tmp_path: Path) -> None:
        house = House(tmp_path, 60.0)
        task = asyncio.create_task(house.gateway.chat(question()))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class TestReuse:
    async def test_an_answer_given_before_is_a_message_of_its_own_by_who_is_asked_now(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        first = await house.gateway.chat(question(agent="ann", reuse_s=60))
        again = await house.gateway.chat(question(agent="bob", reuse_s=60))
        assert len(house.provider.prompts) == 1
        assert (again.message.text, again.message.name) == (first.message.text, "bob")
        assert again.message.id != first.message.id

    async def test_an_answer_is_kept_as_one_of_the_model_that_gave_it(self, tmp_path: Path) -> None:
        house = House(tmp_path, fault("quota"))
        await house.gateway.chat(question(model="chain", reuse_s=60))
        assert list(house.reused.kept) == ["second/m-2"]

    async def test_without_leave_no_answer_is_given_again(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        await house.gateway.chat(question())
        await house.gateway.chat(question())
        assert len(house.provider.prompts) == 2
        assert house.reused.kept == {}


async def _cancelled(*_: object, **__: object) -> tuple[Chatted, bool]:
    raise asyncio.CancelledError


class TestSpan:
    async def test_a_call_is_one_client_span_with_the_golden_attributes(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        await house.gateway.chat(question(session="s-1", generation={"temperature": 0.5, "max_output_tokens": 9}))
        assert house.span("chat m-1").kind.name == "CLIENT"
        assert house.attributes("chat m-1") == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "fake",
            "gen_ai.request.model": "m-1",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": 9,
            "gen_ai.conversation.id": "s-1",
            "gen_ai.response.id": "r-1",
            "gen_ai.response.model": "m-1-full",
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 2,
            "natscope.usage.cost_usd": 0.5,
            "server.address": "fake.example",
            "server.port": 443,
        }

    async def test_a_stream_tells_when_its_first_piece_came(self, tmp_path: Path) -> None:
        house = House(tmp_path, Piece("text", 0, "Yes."), answer())
        await house.gateway.chat(question(deltas_to="d"))
        attributes = house.attributes("chat m-1")
        assert attributes["gen_ai.request.stream"] is True
        first = attributes["gen_ai.response.time_to_first_chunk"]
        assert isinstance(first, float)
        assert first >= 0

    async def test_attempts_are_its_children(self, tmp_path: Path) -> None:
        house = House(tmp_path, fault("overloaded"), answer())
        await house.gateway.chat(question())
        chat, attempt = house.span("chat m-1"), house.span("attempt")
        assert attempt.parent is not None
        assert chat.context is not None
        assert attempt.parent.span_id == chat.context.span_id
        assert chat.status.is_unset

    async def test_an_error_is_our_code(self, tmp_path: Path) -> None:
        house = House(tmp_path, fault("content_filter"))
        with pytest.raises(ContentRefused):
            await house.gateway.chat(question())
        assert house.attributes("chat m-1")["error.type"] == "content_refused"
        assert not house.span("chat m-1").status.is_ok

    async def test_what_was_said_is_not_in_any_span(self, tmp_path: Path) -> None:
        house = House(tmp_path, answer("A secret answer."))
        await house.gateway.chat(question("A secret question?"))
        shown = "".join(span.to_json() for span in house._spans.get_finished_spans())
        assert "chat m-1" in shown
        assert "secret" not in shown

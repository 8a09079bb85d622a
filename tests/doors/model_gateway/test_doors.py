"""The doors `model.*`, against FastStream's broker in memory."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from natscope.bus import Bus
from natscope.contracts import model
from natscope.contracts.blocks import AudioBlock
from natscope.contracts.message import Message
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.accounting.tokens import Estimator
from services.model_gateway.accounts import KeptAccounts
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.gateway import Gateway, Kept
from services.model_gateway.handlers import doors
from services.model_gateway.keeping import Keeper
from services.model_gateway.making import Maker
from services.model_gateway.media import Shelf
from services.model_gateway.paying import Till
from services.model_gateway.talking import Talker
from services.model_gateway.trying.attempts import Attempts
from services.model_gateway.ways import Ways
from tests.unit.model_gateway.fakes import FakeLedger, Heard
from tests.unit.model_gateway.making_fakes import FakeBooks, FakeCharges, FakeReused, FakeStore, fake_ledgers, packed

MODELS = Path(__file__).parents[3] / "deploy" / "models.yaml"


@pytest.fixture
async def broker() -> AsyncIterator[NatsBroker]:
    """A broker in memory with the gateway's doors; no key is set, so the script answers."""
    telemetry = telemetry_for("test", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    models = Models(MODELS, {})
    accounts, attempts, store = KeptAccounts(models.catalog), Attempts(telemetry), FakeStore()
    ways, charges = Ways(models, accounts), FakeCharges()
    gateway = Gateway(
        models,
        ways,
        Talker(models, attempts, charges, Estimator(), deadline_s=20),
        kept=Kept(FakeLedger[model.Chatted](), FakeReused()),
        shelf=Shelf(store, 1000),
        store=FakeStore(),
        say=Heard().say,
        telemetry=telemetry,
    )
    till = Till(attempts, charges, deadline_s=20)
    maker = Maker(ways, till, shelf=Shelf(store, 1000), store=store, telemetry=telemetry)
    books = FakeBooks(models)
    broker = NatsBroker(apply_types=False)
    broker.include_router(
        doors(Bus(Client(), telemetry), gateway, Keeper(maker, fake_ledgers()), books, workers=4).router
    )
    async with TestNatsBroker(broker) as tested:
        yield tested


async def _asked(broker: NatsBroker, subject: str, body: bytes) -> dict[str, Any]:
    reply = await broker.request(body, subject, timeout=20)
    return json.loads(reply.body)


def _chat(**more: object) -> bytes:
    said = Message(name="user", role="user", content="What is 2+2?")  # pyright: ignore[reportArgumentType]
    return model.Chat.model_validate({"model": "default", "messages": [said], **more}).model_dump_json().encode()


class TestChat:
    async def test_answers_with_the_assistants_message(self, broker: NatsBroker) -> None:
        answer = model.Chatted.model_validate(await _asked(broker, "model.chat", _chat()))
        assert answer.message.text == "2 + 2 = 4."
        assert answer.finish_reason == "stop"

    async def test_answers_an_unknown_alias_with_its_code_and_the_known_ones(self, broker: NatsBroker) -> None:
        failure = await _asked(broker, "model.chat", _chat(model="nope"))
        assert (failure["code"], failure["retryable"]) == ("model_not_found", False)
        assert "'default'" in failure["remedy"]

    @pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model": "default", "messages": 7}'])
    async def test_answers_what_is_no_ask_with_body_invalid(self, broker: NatsBroker, body: bytes) -> None:
        assert (await _asked(broker, "model.chat", body))["code"] == "body_invalid"


class TestList:
    async def test_names_the_aliases_and_who_answers_for_them(self, broker: NatsBroker) -> None:
        listed = model.Listed.model_validate(await _asked(broker, "model.list", b"{}"))
        assert [(info.alias, info.provider) for info in listed.models] == [
            ("default", "scripted"),
            ("offline", "scripted"),
            ("embedding", "scripted"),
            ("speech", "scripted"),
            ("transcription", "scripted"),
            ("image", "scripted"),
        ]

    async def test_says_what_each_is_for(self, broker: NatsBroker) -> None:
        listed = model.Listed.model_validate(await _asked(broker, "model.list", b"{}"))
        purposes = ["chat", "chat", "embedding", "speech", "transcription", "image"]
        assert [info.purpose for info in listed.models] == purposes


class TestMaking:
    async def test_embeds(self, broker: NatsBroker) -> None:
        body = await _asked(broker, "model.embed", b'{"model": "embedding", "texts": ["a", "b"], "dimensions": 3}')
        answer = model.Embedded.model_validate(body)
        assert [len(vector) for vector in answer.vectors] == [3, 3]
        assert answer.provider == "scripted"

    async def test_speaks(self, broker: NatsBroker) -> None:
        body = await _asked(broker, "model.speak", b'{"model": "speech", "text": "Hello."}')
        assert model.Spoken.model_validate(body).audio.source.media_type == "audio/wav"

    async def test_transcribes(self, broker: NatsBroker) -> None:
        audio = AudioBlock(source=packed(b"RIFF....WAVE", "audio/wav"))
        ask = model.Transcribe(model="transcription", audio=audio).model_dump_json().encode()
        answer = model.Transcribed.model_validate(await _asked(broker, "model.transcribe", ask))
        assert answer.text.text.startswith("A recording of 12 bytes")

    async def test_draws(self, broker: NatsBroker) -> None:
        body = await _asked(broker, "model.draw", b'{"model": "image", "prompt": "A hut.", "count": 2}')
        assert [image.source.media_type for image in model.Drawn.model_validate(body).images] == ["image/png"] * 2

    @pytest.mark.parametrize(
        ("subject", "body", "purpose"),
        [
            ("model.embed", b'{"model": "default", "texts": ["a"]}', "embedding"),
            ("model.speak", b'{"model": "default", "text": "a"}', "speech"),
            ("model.draw", b'{"model": "default", "prompt": "a"}', "image"),
            ("model.chat", None, "chat"),
        ],
    )
    async def test_answers_an_alias_of_another_purpose_with_those_that_fit(
        self, broker: NatsBroker, subject: str, body: bytes | None, purpose: str
    ) -> None:
        failure = await _asked(broker, subject, body or _chat(model="embedding"))
        assert failure["code"] == "model_not_found"
        assert f"not for {purpose}" in failure["message"]
        assert ("'default'" if purpose == "chat" else f"'{purpose}'") in failure["remedy"]

    @pytest.mark.parametrize("subject", ["model.embed", "model.speak", "model.transcribe", "model.draw"])
    async def test_answers_what_is_no_ask_with_body_invalid(self, broker: NatsBroker, subject: str) -> None:
        assert (await _asked(broker, subject, b"{}"))["code"] == "body_invalid"


class TestFit:
    SUM: ClassVar[Any] = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}

    @pytest.mark.parametrize(("value", "why"), [({"sum": 4}, ""), ({"sum": "four"}, "sum: "), ({}, "sum"), ("4", "4")])
    async def test_says_why_a_value_does_not_fit(self, broker: NatsBroker, value: Any, why: str) -> None:
        asked = model.Fit(json_schema=self.SUM, value=value)
        told = model.Fitted.model_validate(await _asked(broker, "model.fit", asked.model_dump_json().encode()))
        assert bool(told.why_not) == bool(why)
        assert why in told.why_not

    async def test_refuses_a_schema_that_is_none(self, broker: NatsBroker) -> None:
        failure = await _asked(broker, "model.fit", b'{"json_schema": {"type": "sum"}, "value": 4}')
        assert failure["code"] == "schema_invalid"

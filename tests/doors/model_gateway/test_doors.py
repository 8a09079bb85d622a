"""The doors `model.chat` and `model.list`, against FastStream's broker in memory."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from natscope.bus import Bus
from natscope.contracts import model
from natscope.contracts.message import Message
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.accounts import KeptAccounts
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.gateway import Gateway
from services.model_gateway.handlers import doors
from services.model_gateway.media import Shelf
from services.model_gateway.trying.attempts import Attempts
from tests.unit.model_gateway.fakes import FakeBlobs, FakeLedger, Heard

MODELS = Path(__file__).parents[3] / "deploy" / "models.yaml"


@pytest.fixture
async def broker() -> AsyncIterator[NatsBroker]:
    """A broker in memory with the gateway's doors; no key is set, so the script answers."""
    telemetry = telemetry_for("test", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    models = Models(MODELS, {})
    gateway = Gateway(
        models,
        KeptAccounts(models.catalog),
        Attempts(telemetry),
        ledger=FakeLedger(),
        shelf=Shelf(FakeBlobs(), 1000),
        say=Heard().say,
        telemetry=telemetry,
        deadline_s=5,
    )
    broker = NatsBroker(apply_types=False)
    broker.include_router(doors(Bus(Client(), telemetry), gateway, workers=4).router)
    async with TestNatsBroker(broker) as tested:
        yield tested


async def _asked(broker: NatsBroker, subject: str, body: bytes) -> dict[str, Any]:
    reply = await broker.request(body, subject, timeout=2)
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
        ]

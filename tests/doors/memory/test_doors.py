"""The doors `memory.*` and `hub.*`, against FastStream's broker in memory."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from natscope.bus import Bus
from natscope.contracts import hub, memory
from natscope.contracts.message import Message
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.memory.handlers import doors
from tests.unit.memory.fakes import Written


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
async def broker(written: Written) -> AsyncIterator[NatsBroker]:
    """A broker in memory with the memory's doors."""
    telemetry = telemetry_for("test", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    broker = NatsBroker(apply_types=False)
    broker.include_router(doors(written.replica(), Bus(Client(), telemetry)).router)
    async with TestNatsBroker(broker) as tested:
        yield tested


async def _asked(broker: NatsBroker, subject: str, body: bytes | dict[str, Any]) -> dict[str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads((await broker.request(data, subject, timeout=20)).body)


HELLO = {"name": "ann", "role": "user", "content": "Hello", "id": "m1"}


class TestMemory:
    async def test_what_is_appended_is_recalled(self, broker: NatsBroker) -> None:
        appended = await _asked(broker, "memory.append", {"session": "s", "messages": [HELLO]})
        assert memory.Appended.model_validate(appended).added == 1
        recalled = memory.Recalled.model_validate(await _asked(broker, "memory.recall", {"session": "s"}))
        assert [message.text for message in recalled.messages] == ["Hello"]

    async def test_fields_and_blocks_of_a_later_version_come_back_as_they_were(self, broker: NatsBroker) -> None:
        later = HELLO | {"mood": "gay", "content": [{"type": "hologram", "depth": 3}]}
        await _asked(broker, "memory.append", {"session": "s", "messages": [later]})
        (recalled,) = (await _asked(broker, "memory.recall", {"session": "s"}))["messages"]
        assert (recalled["mood"], recalled["content"]) == ("gay", later["content"])

    async def test_a_session_is_searched_exported_imported_and_cleared(self, broker: NatsBroker) -> None:
        await _asked(broker, "memory.append", {"session": "s", "messages": [HELLO]})
        found = await _asked(broker, "memory.search", {"session": "s", "query": "hello"})
        assert memory.Found.model_validate(found).messages == [Message.model_validate(found["messages"][0])]
        document = await _asked(broker, "memory.export", {"session": "s"})
        imported = await _asked(broker, "memory.import", {"document": document, "session": "t"})
        assert imported["added"] == 1
        assert (await _asked(broker, "memory.clear", {"session": "s"}))["removed"] == 1

    @pytest.mark.parametrize("door", ["append", "recall", "search", "clear", "export", "import"])
    @pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"session": "no token!"}', b"\xff"])
    async def test_what_is_no_ask_is_answered_with_body_invalid(
        self, broker: NatsBroker, door: str, body: bytes
    ) -> None:
        failure = await _asked(broker, f"memory.{door}", body)
        assert (failure["code"], failure["retryable"]) == ("body_invalid", False)
        assert f"memory.{door}" in failure["message"]

    @pytest.mark.parametrize(
        "body", [{"session": "s", "last": -1}, {"session": "s", "token_budget": -1}, {"session": "s.t"}]
    )
    async def test_limits_and_names_that_cannot_be_are_refused(self, broker: NatsBroker, body: dict[str, Any]) -> None:
        assert (await _asked(broker, "memory.recall", body))["code"] == "body_invalid"

    @pytest.mark.parametrize("door", ["clear", "export"])
    async def test_a_session_that_never_was_is_named(self, broker: NatsBroker, door: str) -> None:
        failure = await _asked(broker, f"memory.{door}", {"session": "nobody"})
        assert failure["code"] == "session_not_found"
        assert "'nobody'" in failure["message"]

    async def test_a_log_out_of_reach_is_told_as_worth_another_try(self, broker: NatsBroker, written: Written) -> None:
        written.sessions.down = True
        failure = await _asked(broker, "memory.append", {"session": "s", "messages": [HELLO]})
        assert (failure["code"], failure["retryable"]) == ("bus_unavailable", True)


class TestHubs:
    async def test_a_session_joins_hears_is_listed_and_leaves(self, broker: NatsBroker, written: Written) -> None:
        joined = await _asked(broker, "hub.join", {"hub": "team", "session": "s", "agent": "assistant"})
        assert hub.Joined.model_validate(joined).member.agent == "assistant"
        written.said.put("team", b"hello")
        assert len((await _asked(broker, "memory.recall", {"session": "s"}))["messages"]) == 1
        listed = hub.Listed.model_validate(await _asked(broker, "hub.list", {}))
        assert [(one.hub, [member.session for member in one.members]) for one in listed.hubs] == [("team", ["s"])]
        assert (await _asked(broker, "hub.leave", {"hub": "team", "session": "s"}))["was_member"] is True

    @pytest.mark.parametrize("door", ["join", "leave"])
    async def test_what_is_no_ask_is_answered_with_body_invalid(self, broker: NatsBroker, door: str) -> None:
        assert (await _asked(broker, f"hub.{door}", {"hub": "a b", "session": "s"}))["code"] == "body_invalid"

    async def test_a_hub_that_never_was_is_named(self, broker: NatsBroker) -> None:
        failure = await _asked(broker, "hub.leave", {"hub": "nowhere", "session": "s"})
        assert failure["code"] == "hub_not_found"
        assert "'nowhere'" in failure["message"]

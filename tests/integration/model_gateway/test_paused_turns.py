"""`model.chat` where a Claude model pauses in its turn: a real nats-server, real HTTP."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from natscope.contracts import model
from tests.integration.model_gateway.house import House, opened
from tests.loopback import messages_wire
from tests.loopback.messages_wire import event, failure, message, turns
from tests.loopback.provider import Provider
from tests.loopback.replies import EVENTS, JSON, Reply

MODELS = """
providers:
  first: {kind: anthropic, api_key: {env: OPENAI_API_KEY}, base_url: "%s"}
aliases:
  default: {targets: [{provider: first, model: claude-sonnet-5, max_output_tokens: 4000}]}
"""
SEARCH: dict[str, Any] = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "42"}}


def _paused(*, streamed: bool = False) -> Reply:
    if not streamed:
        whole = message(Reply(text="I look."), content=[{"type": "text", "text": "I look."}, SEARCH])
        return Reply(raw=json.dumps({**whole, "stop_reason": "pause_turn"}).encode(), content_type=JSON)
    frames = messages_wire.events(Reply(text="I look.", finish_reason="pause_turn"))
    begun = {**SEARCH, "input": {}}
    search = (
        event("content_block_start", index=1, content_block=begun)
        + event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"query":"42"}'})
        + event("content_block_stop", index=1)
    )
    return Reply(raw=b"".join((*frames[:-2], search, *frames[-2:])), content_type=EVENTS)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """The provider; it counts what it is asked."""
    async with Provider(turns, wire=messages_wire) as provider:
        yield provider


@pytest.fixture
async def house(nats_url: str, provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """The gateway and a guest who asks it."""
    async with opened(nats_url, provider.url, tmp_path, models=MODELS % provider.url) as house:
        yield house


class TestAPausedTurn:
    @pytest.mark.parametrize("streamed", [False, True])
    async def test_goes_on_and_is_one_answer(self, house: House, provider: Provider, streamed: bool) -> None:
        provider.queue(_paused(streamed=streamed))
        chatted = await house.chat(deltas_to=await house.listen() if streamed else None)
        assert [block.type for block in chatted.message.content] == ["text", "server_tool_use", "text"]
        assert (chatted.finish_reason, chatted.attempts, provider.total) == ("stop", 1, 2)
        assert chatted.usage == model.Usage(input_tokens=24, output_tokens=14)
        first, then = provider.requests
        said = {"role": "assistant", "content": [{"type": "text", "text": "I look."}, SEARCH]}
        assert then["messages"] == [*first["messages"], said]
        assert (first["max_tokens"], then["max_tokens"]) == (4000, 3993)
        if streamed:
            assert [(d.block, d.text) for d in house.deltas if d.kind == "text"] == [
                (0, "I look."),
                (2, "The answer is 42."),
            ]

    async def test_that_never_ends_counts_as_cut(self, house: House, provider: Provider) -> None:
        provider.queue(*(_paused() for _ in range(12)))
        assert (await house.chat()).finish_reason == "length"
        assert provider.total == 9

    async def test_whose_rest_fails_is_asked_for_anew(self, house: House, provider: Provider) -> None:
        provider.queue(_paused(), failure(529, "overloaded", kind="overloaded_error"))
        chatted = await house.chat()
        assert (chatted.message.text, chatted.attempts, provider.total) == ("The answer is 42.", 2, 3)
        assert provider.requests[2] == provider.requests[0]

"""Turns that a Claude model pauses, and the work of its own tools that is not finished."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import ContentBlock, TextBlock, ToolUseBlock, UnknownBlock, plain
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Generation
from services.model_gateway.wires.messages import Dialect, Request, continued, request
from services.model_gateway.wires.messages_reply import Draft

SEARCH: dict[str, Any] = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "é"}}
FOUND: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
TEXT: dict[str, Any] = {"type": "text", "text": "I look."}
HELLO = Message(name="user", role="user", content=plain("Hello?"))


def _answer(*content: dict[str, Any], reason: str = "pause_turn", **more: Any) -> bytes:
    head = {"id": "m", "type": "message", "role": "assistant", "model": "claude-1", "content": list(content)}
    usage = {"input_tokens": 10, "output_tokens": 100}
    return json.dumps({**head, "stop_reason": reason, "usage": usage, **more}).encode()


def _draft(*answers: bytes) -> Draft:
    draft = Draft("anthropic", "claude-1")
    for place, answer in enumerate(answers):
        if place:
            draft.go_on()
        draft.whole(answer)
    return draft


def _request(limit: int = 1000, thinking: str | None = None) -> Request:
    generation = Generation.model_validate({"max_output_tokens": limit, "thinking": thinking})
    ask = Chat(model="default", messages=[HELLO], generation=generation)
    return request(ask, model="claude-3-7-sonnet", provider="anthropic", dialect=Dialect(), stream=False)


def _replayed(*content: dict[str, Any], use: ToolUseBlock | None = None) -> list[str]:
    said: list[ContentBlock] = [*_draft(_answer(*content)).said(), *([use] if use else [])]
    answer = Message(name="a", role="assistant", content=said)
    ask = Chat(model="default", messages=[HELLO, answer, HELLO])
    sent = request(ask, model="claude-1", provider="anthropic", dialect=Dialect(), stream=False)
    return [part["type"] for part in json.loads(sent.content)["messages"][1]["content"]]


class TestPaused:
    @pytest.mark.parametrize(("reason", "paused"), [("pause_turn", True), ("end_turn", False), ("max_tokens", False)])
    def test_is_a_turn_that_says_so(self, reason: str, paused: bool) -> None:
        assert _draft(_answer(TEXT, reason=reason)).paused is paused

    def test_is_not_a_turn_that_waits_for_a_tool_of_ours(self) -> None:
        draft = _draft(_answer({"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}))
        assert (draft.paused, draft.end().finish_reason) == (False, "tool_call")

    def test_is_one_message_with_what_came_after_it(self) -> None:
        draft = _draft(_answer(TEXT, SEARCH), _answer(FOUND, {"type": "text", "text": "Found."}, reason="end_turn"))
        reply = draft.end()
        assert [block.type for block in reply.content] == [
            "text", "server_tool_use", "web_search_tool_result", "text"
        ]  # fmt: skip
        assert reply.finish_reason == "stop"
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (20, 200)

    def test_counts_as_cut_if_nobody_lets_it_go_on(self) -> None:
        assert _draft(_answer(TEXT)).end().finish_reason == "length"


class TestGoingOn:
    def test_sends_the_turn_back_as_it_is_with_what_is_left_to_write(self) -> None:
        asked = _request()
        draft = _draft(_answer(TEXT, SEARCH, container={"id": "container_1"}))
        more = continued(asked, draft.said(), written=draft.output_tokens, container=draft.container)
        assert more is not None
        before, sent = json.loads(asked.content), json.loads(more.content)
        assert sent.pop("container") == "container_1"
        assert sent.pop("max_tokens") == 900
        assert sent.pop("messages") == [*before.pop("messages"), {"role": "assistant", "content": [TEXT, SEARCH]}]
        before.pop("max_tokens")
        assert sent == before

    @pytest.mark.parametrize(("limit", "thinking"), [(600, None), (4096, "low")])
    def test_stops_where_too_little_is_left(self, limit: int, thinking: str | None) -> None:
        assert continued(_request(limit, thinking), [TextBlock(text="I look.")], written=100) is not None
        assert continued(_request(limit, thinking), [TextBlock(text="I look.")], written=limit - 250) is None


class TestUnfinishedWork:
    def test_is_left_out_of_what_is_told_again(self) -> None:
        assert _replayed(TEXT, SEARCH) == ["text"]

    def test_is_told_where_it_was_finished(self) -> None:
        assert _replayed(TEXT, SEARCH, FOUND) == ["text", "server_tool_use", "web_search_tool_result"]

    def test_is_told_while_a_tool_of_ours_is_waited_for(self) -> None:
        use = ToolUseBlock(id="toolu_1", name="look", input={}, raw_input="{}")
        assert _replayed(TEXT, SEARCH, use=use) == ["text", "server_tool_use", "tool_use"]

    def test_of_another_kind_is_told(self) -> None:
        assert isinstance(_draft(_answer(FOUND)).said()[0], UnknownBlock)
        assert _replayed(FOUND) == ["web_search_tool_result"]

"""Reading chat completions answers, and proving that they have ended."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolUseBlock
from natscope.contracts.model import Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.chat_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.chat_wire import events, unary
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent

FULL = Sent(
    text="Grüße, 世界 🌍.",
    thinking="Let me think.",
    calls=(Call("look", '{"at": "é"}', "call_a"), Call("listen", "", "call_b")),
)


def _whole(body: bytes | dict[str, Any]) -> Reply:
    draft = Draft("openai", "asked-for")
    draft.whole(body if isinstance(body, bytes) else json.dumps(body).encode())
    return draft.end()


def _streamed(stream: bytes, size: int = 1 << 20) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft("openai", "asked-for"), Splitter(), list[Piece]()
    for start in range(0, len(stream), size):
        pieces += draft.take(splitter.feed(stream[start : start + size]))
    return draft.end(), pieces


def _chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice], **more}).encode() + b"\n\n"


def _fault(call: Any) -> str:
    with pytest.raises(Failed) as caught:
        call()
    return caught.value.name


class TestWhole:
    def test_every_kind_of_block_is_read(self) -> None:
        reply = _whole(unary(FULL))
        assert reply.content == [
            ThinkingBlock(thinking="Let me think.", provider="openai"),
            TextBlock(text="Grüße, 世界 🌍."),
            ToolUseBlock(id="call_a", name="look", input={"at": "é"}, raw_input='{"at": "é"}'),
            ToolUseBlock(id="call_b", name="listen", input={}, raw_input=""),
        ]
        assert (reply.finish_reason, reply.model, reply.response_id) == ("tool_call", "loopback-1", "chatcmpl-loopback")

    def test_usage_includes_what_was_cached_and_reasoned(self) -> None:
        body = json.loads(unary(FULL))
        body["usage"] = {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 80},
            "completion_tokens_details": {"reasoning_tokens": 30},
        }
        expected = Usage(input_tokens=100, output_tokens=50, cache_read_tokens=80, reasoning_tokens=30)
        assert _whole(body).usage == expected

    @pytest.mark.parametrize("raw", ['{"at": ', "[1]", "7", '"{}"', "none"])
    def test_arguments_that_are_no_object_are_kept_raw_and_left_empty(self, raw: str) -> None:
        use = _whole(unary(Sent(calls=(Call("look", raw),)))).content[0]
        assert isinstance(use, ToolUseBlock)
        assert (use.input, use.raw_input) == ({}, raw)

    def test_a_call_without_an_id_gets_one(self) -> None:
        use = _whole(unary(Sent(calls=(Call("look", "{}", ""),)))).content[0]
        assert isinstance(use, ToolUseBlock)
        assert use.id.startswith("call_")

    def test_a_refusal_in_words_is_what_was_said(self) -> None:
        body = json.loads(unary(Sent()))
        body["choices"][0]["message"]["refusal"] = "I would rather not."
        assert _whole(body).content == [TextBlock(text="I would rather not.")]

    def test_parts_of_text_and_thinking_are_read(self) -> None:
        body = json.loads(unary(Sent()))
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
        body["choices"][0]["message"]["content"] = [thought, {"type": "text", "text": "Yes."}]
        assert _whole(body).content == [ThinkingBlock(thinking="hm", provider="openai"), TextBlock(text="Yes.")]

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            (b"", "empty"),
            (b"  \n", "empty"),
            (b"<html>down</html>", "not_json"),
            (b"[]", "not_json"),
            (b'{"id": "x", "choices": []}', "no_answer"),
            (b'{"id": "x", "choices": [{"finish_reason": "stop"}]}', "no_answer"),
            (b'{"id": "x", "choices": "nonsense"}', "no_answer"),
            (b'{"id": "x", "choices": [{"finish_reason": "content_filter"}]}', "content_filter"),
            (b'{"error": {"message": "no", "code": "rate_limit_exceeded"}}', "rate_limit"),
            (b'{"choices": [{"message": {"content": ""}, "finish_reason": "tool_calls"}]}', "no_answer"),
            (unary(Sent(text="half", finish_reason=None)), "truncated"),
            (unary(Sent(text=None, finish_reason="content_filter")), "content_filter"),
        ],
    )
    def test_what_is_no_proven_answer_is_a_fault(self, body: bytes, fault: str) -> None:
        assert _fault(lambda: _whole(body)) == fault

    def test_an_answer_cut_by_the_token_limit_says_so(self) -> None:
        assert _whole(unary(Sent(text="hal", finish_reason="length"))).finish_reason == "length"

    def test_a_reason_that_is_said_but_empty_ends_a_whole_answer_not_a_chunk(self) -> None:
        assert _whole(unary(Sent(text="Yes.", finish_reason=""))).finish_reason == "stop"
        assert _fault(lambda: _streamed(_chunk({"content": "Yes."}, ""))) == "truncated"


class TestStream:
    @pytest.mark.parametrize("size", [1, 7, 1 << 20])
    def test_gives_the_same_message_as_in_one_piece_wherever_it_is_cut(self, size: int) -> None:
        reply, _ = _streamed(b"".join(events(FULL)), size)
        whole = _whole(unary(FULL))
        assert (reply.content, reply.finish_reason, reply.usage) == (whole.content, whole.finish_reason, whole.usage)

    @pytest.mark.parametrize("size", [1, 1 << 20])
    def test_its_pieces_make_up_its_blocks(self, size: int) -> None:
        _, pieces = _streamed(b"".join(events(FULL)), size)
        texts = ["".join(piece.text for piece in pieces if piece.block == block) for block in range(4)]
        assert texts == ["Let me think.", "Grüße, 世界 🌍.", '{"at": "é"}', ""]
        assert [(p.call_id, p.tool) for p in pieces if p.call_id] == [("call_a", "look"), ("call_b", "listen")]

    def test_what_comes_together_in_one_block_is_one_piece(self) -> None:
        _, pieces = _streamed(b"".join(events(Sent(text="abcdefgh", pieces=8))))
        assert pieces == [Piece("text", 0, "abcdefgh")]

    def test_is_complete_by_its_finish_reason_alone(self) -> None:
        assert _streamed(b"".join(events(Sent(text="Yes.", done=False))))[0].finish_reason == "stop"

    def test_is_complete_by_done_alone(self) -> None:
        assert _streamed(b"".join(events(Sent(text="Yes.", finish_reason=None))))[0].finish_reason == "stop"
        called = Sent(calls=(Call("look"),), finish_reason=None)
        assert _streamed(b"".join(events(called)))[0].finish_reason == "tool_call"

    def test_that_ends_tidily_before_its_end_mark_is_truncated(self) -> None:
        stream = b"".join(events(Sent(text="Half of", finish_reason=None, done=False)))
        assert _fault(lambda: _streamed(stream)) == "truncated"

    @pytest.mark.parametrize("stream", [b"", b": ping\n\n"])
    def test_without_an_event_is_empty(self, stream: bytes) -> None:
        assert _fault(lambda: _streamed(stream)) == "empty"

    def test_in_which_no_choice_ever_came_has_no_answer(self) -> None:
        chunk = b'data: {"id": "c", "choices": []}\n\n'
        assert _fault(lambda: _streamed(chunk + b"data: [DONE]\n\n")) == "no_answer"

    def test_may_have_chunks_without_choices_at_both_ends(self) -> None:
        filter_first = b'data: {"id": "", "model": "", "choices": [], "prompt_filter_results": []}\n\n'
        reply, _ = _streamed(filter_first + b"".join(events(Sent(text="Yes."))))
        assert reply.model == "loopback-1"
        assert reply.usage.input_tokens == 12

    def test_with_an_error_inside_is_that_fault(self) -> None:
        chunk = b'data: {"error": {"message": "upstream", "code": 502}}\n\n'
        assert _fault(lambda: _streamed(_chunk({"content": "Hal"}) + chunk)) == "server_error"

    def test_with_garbled_json_is_a_fault(self) -> None:
        assert _fault(lambda: _streamed(b'data: {"id": \n\n')) == "not_json"

    def test_calls_are_told_apart_by_index_not_by_id(self) -> None:
        def part(index: int, arguments: str, **more: Any) -> bytes:
            call = {"index": index, "function": {"arguments": arguments, **more}}
            return _chunk({"tool_calls": [call]})

        stream = part(0, "", name="a") + part(1, "", name="b") + part(0, '{"x":') + part(1, "{}") + part(0, "1}")
        reply, _ = _streamed(stream + _chunk(reason="tool_calls"))
        uses = [block for block in reply.content if isinstance(block, ToolUseBlock)]
        assert [(use.name, use.input) for use in uses] == [("a", {"x": 1}), ("b", {})]
        assert uses[0].id != uses[1].id

    def test_calls_that_all_claim_the_same_index_are_told_apart_by_id(self) -> None:
        def begin(id: str, name: str) -> bytes:
            return _chunk({"tool_calls": [{"index": 0, "id": id, "function": {"name": name, "arguments": "{}"}}]})

        reply, _ = _streamed(begin("1", "a") + begin("2", "b") + _chunk(reason="tool_calls"))
        assert [block.name for block in reply.content if isinstance(block, ToolUseBlock)] == ["a", "b"]

"""Reading messages answers, and proving that they have ended."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolUseBlock, UnknownBlock
from natscope.contracts.message import Message
from natscope.contracts.model import Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.messages_output import AnswerTool
from services.model_gateway.wires.messages_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.messages_wire import REDACTED, SIGNATURE, event, events, message, unary
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent

FULL = Sent(
    text="Grüße, 世界 🌍.",
    thinking="Let me think.",
    calls=(Call("look", '{"at": "é"}', "toolu_a"), Call("listen", "", "toolu_b")),
)


def _whole(body: bytes | dict[str, Any], answer: AnswerTool | None = None) -> Reply:
    draft = Draft("anthropic", "asked-for", answer=answer)
    draft.whole(body if isinstance(body, bytes) else json.dumps(body).encode())
    return draft.end()


def _streamed(stream: bytes, size: int = 1 << 20, answer: AnswerTool | None = None) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft("anthropic", "asked-for", answer=answer), Splitter(), list[Piece]()
    for start in range(0, len(stream), size):
        pieces += draft.take(splitter.feed(stream[start : start + size]))
    return draft.end(), pieces


def _said(*content: dict[str, Any], reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    return message(Sent(text=""), content=list(content), stop_reason=reason, **more)


def _stream(*inside: bytes, reason: str | None = "end_turn", usage: dict[str, Any] | None = None) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None}
    end = (event("message_delta", delta=delta, usage=usage or {}), event("message_stop"))
    return b"".join((event("message_start", message=_said(reason=None)), *inside, *end))


def _begin(index: int, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def _more(index: int, kind: str, **delta: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **delta})


def _fault(call: Any) -> str:
    with pytest.raises(Failed) as caught:
        call()
    return caught.value.name


class TestWhole:
    def test_every_kind_of_block_is_read(self) -> None:
        reply = _whole(unary(FULL))
        assert reply.content == [
            ThinkingBlock(thinking="Let me think.", provider="anthropic", signature=SIGNATURE),
            TextBlock(text="Grüße, 世界 🌍."),
            ToolUseBlock(id="toolu_a", name="look", input={"at": "é"}, raw_input='{"at":"é"}'),
            ToolUseBlock(id="toolu_b", name="listen", input={}, raw_input=""),
        ]
        assert (reply.finish_reason, reply.model, reply.response_id) == ("tool_call", "loopback-1", "msg_loopback")

    def test_redacted_thinking_is_kept_as_it_is(self) -> None:
        assert _whole(unary(Sent(thinking="", text="Yes."))).content[0] == ThinkingBlock(
            thinking="", provider="anthropic", redacted=REDACTED
        )

    def test_usage_includes_what_was_cached_and_thought(self) -> None:
        counts = {
            "input_tokens": 10,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 5,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 30},
        }
        assert _whole(_said(usage=counts)).usage == Usage(
            input_tokens=95, output_tokens=50, cache_read_tokens=80, cache_write_tokens=5, reasoning_tokens=30
        )

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("pause_turn", "length"),
            ("tool_use", "stop"),
            ("of_tomorrow", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("refusal", "content_filter"),
        ],
    )
    def test_every_reason_to_stop_is_understood(self, reason: str, finish: str) -> None:
        assert _whole(_said({"type": "text", "text": "Yes."}, reason=reason)).finish_reason == finish

    def test_a_refusal_without_words_is_a_fault_that_says_why(self) -> None:
        body = _said(reason="refusal", stop_details={"type": "refusal", "explanation": "It is about harm."})
        with pytest.raises(Failed, match="content_filter") as caught:
            _whole(body)
        assert "It is about harm." in str(caught.value.error(model="m", attempts=1))

    @pytest.mark.parametrize("given", ['{"at": ', [1], "none"])
    def test_arguments_that_are_no_object_are_kept_raw_and_left_empty(self, given: Any) -> None:
        use = _whole(_said({"type": "tool_use", "id": "a", "name": "look", "input": given})).content[0]
        assert isinstance(use, ToolUseBlock)
        assert (use.input, use.raw_input) == ({}, given if isinstance(given, str) else "[1]")

    def test_a_call_without_an_id_gets_one(self) -> None:
        use = _whole(_said({"type": "tool_use", "name": "look", "input": {}})).content[0]
        assert isinstance(use, ToolUseBlock)
        assert use.id.startswith("toolu_")

    def test_blocks_of_server_tools_survive_a_round_trip_in_their_place(self) -> None:
        served = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "é"}, "caller": None}
        found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"encrypted_content": "Eu+/="}]}
        reply = _whole(_said(served, found, {"type": "text", "text": "Yes."}))
        kept = Message.model_validate_json(Message(name="a", role="assistant", content=reply.content).model_dump_json())
        assert [block.type for block in kept.content] == ["server_tool_use", "web_search_tool_result", "text"]
        assert isinstance(kept.content[1], UnknownBlock)
        assert kept.content[1].model_dump(exclude={"provider"}) == found

    def test_a_block_that_means_something_else_to_us_is_passed_over(self) -> None:
        assert _whole(_said({"type": "image", "source": 1}, {}, {"type": "text", "text": "Yes."})).content == [
            TextBlock(text="Yes.")
        ]

    def test_citations_are_told_beside_the_message(self) -> None:
        quote = {"type": "web_search_result_location", "url": "https://e.org", "cited_text": "x"}
        reply = _whole(_said({"type": "text", "text": "a"}, {"type": "text", "text": "b", "citations": [quote]}))
        assert reply.metadata == {"annotations": [{**quote, "block": 1}]}

    def test_an_answer_that_says_nothing_but_ends_is_one(self) -> None:
        assert _whole(_said()).content == []

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            (b"", "empty"),
            (b"  \n", "empty"),
            (b"<html>down</html>", "not_json"),
            (b"[]", "not_json"),
            (b'{"id": "x"}', "no_answer"),
            (b'{"content": "Yes.", "stop_reason": "end_turn"}', "no_answer"),
            (b'{"content": [], "stop_reason": "tool_use"}', "no_answer"),
            (json.dumps(_said(reason=None)).encode(), "no_answer"),
            (json.dumps(_said({"type": "text", "text": "half"}, reason=None)).encode(), "truncated"),
            (b'{"type": "error", "error": {"type": "overloaded_error", "message": "no"}}', "overloaded"),
            (b'{"type": "error"}', "server_error"),
            (b'{"error": "down"}', "server_error"),
        ],
    )
    def test_what_is_no_proven_answer_is_a_fault(self, body: bytes, fault: str) -> None:
        assert _fault(lambda: _whole(body)) == fault


class TestStream:
    @pytest.mark.parametrize("size", [1, 7, 1 << 20])
    def test_gives_the_same_message_as_in_one_piece_wherever_it_is_cut(self, size: int) -> None:
        reply, _ = _streamed(b"".join(events(FULL)), size)
        whole = _whole(unary(FULL))
        assert [block.model_dump(exclude={"raw_input"}) for block in reply.content] == [
            block.model_dump(exclude={"raw_input"}) for block in whole.content
        ]
        assert (reply.finish_reason, reply.usage) == (whole.finish_reason, whole.usage)
        assert [block.raw_input for block in reply.content if isinstance(block, ToolUseBlock)] == ['{"at": "é"}', ""]

    @pytest.mark.parametrize("size", [1, 1 << 20])
    def test_its_pieces_make_up_its_blocks(self, size: int) -> None:
        _, pieces = _streamed(b"".join(events(FULL)), size)
        texts = ["".join(piece.text for piece in pieces if piece.block == block) for block in range(4)]
        assert texts == ["Let me think.", "Grüße, 世界 🌍.", '{"at": "é"}', ""]
        assert [(p.call_id, p.tool) for p in pieces if p.call_id] == [("toolu_a", "look"), ("toolu_b", "listen")]

    def test_blocks_in_which_nothing_came_do_not_count(self) -> None:
        stream = _stream(
            _begin(0, type="text", text=""), _begin(1, type="text", text=""), _more(1, "text_delta", text="Yes.")
        )
        reply, pieces = _streamed(stream)
        assert (reply.content, pieces) == ([TextBlock(text="Yes.")], [Piece("text", 0, "Yes.")])

    def test_thinking_that_is_not_shown_keeps_its_signature(self) -> None:
        hidden = (_begin(0, type="thinking", thinking="", signature=""), _more(0, "signature_delta", signature="c2ln"))
        assert _streamed(_stream(*hidden))[0].content == [
            ThinkingBlock(thinking="", provider="anthropic", signature="c2ln")
        ]

    def test_redacted_thinking_comes_at_once(self) -> None:
        assert _streamed(b"".join(events(Sent(thinking="", text="Yes."))))[0].content == [
            ThinkingBlock(thinking="", provider="anthropic", redacted=REDACTED),
            TextBlock(text="Yes."),
        ]

    def test_arguments_may_come_with_the_call(self) -> None:
        call = (_begin(0, type="tool_use", id="a", name="look", input={"at": 1}), event("content_block_stop", index=0))
        reply, pieces = _streamed(_stream(*call, reason="tool_use"))
        assert reply.content == [ToolUseBlock(id="a", name="look", input={"at": 1}, raw_input='{"at":1}')]
        assert "".join(piece.text for piece in pieces) == '{"at":1}'

    def test_a_server_tools_arguments_are_put_together(self) -> None:
        served = _begin(0, type="server_tool_use", id="s", name="web_search", input={})
        parts = (_more(0, "input_json_delta", partial_json=part) for part in ('{"query":', ' "x"}'))
        reply, pieces = _streamed(_stream(served, *parts, event("content_block_stop", index=0)))
        assert isinstance(reply.content[0], UnknownBlock)
        assert reply.content[0].unknown_fields["input"] == {"query": "x"}
        assert pieces == []

    def test_what_is_told_of_a_block_in_deltas_is_part_of_it(self) -> None:
        begun = _begin(0, type="compaction", content=None)
        more = _more(0, "compaction_delta", content="They met.", encrypted_content="c2Vh")
        (block,) = _streamed(_stream(begun, more))[0].content
        told = {"type": "compaction", "content": "They met.", "encrypted_content": "c2Vh", "provider": "anthropic"}
        assert block.model_dump() == told

    def test_a_model_that_declines_hands_over_to_another(self) -> None:
        hop = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}
        reply = _whole(_said(hop, {"type": "text", "text": "Yes."}))
        assert (reply.model, [block.type for block in reply.content]) == ("b", ["fallback", "text"])

    def test_kinds_of_tomorrow_are_passed_over(self) -> None:
        text = (
            _begin(0, type="text", text=""),
            _more(0, "mood_delta", mood="glad"),
            _more(0, "text_delta", text="Yes."),
        )
        stream = event("weather", fine=True) + b"event: ping\ndata: {}\n\n" + _stream(*text) + b"data: [DONE]\n\n"
        assert _streamed(stream)[0].content == [TextBlock(text="Yes.")]

    def test_citations_come_one_by_one(self) -> None:
        quote = {"type": "page_location", "document_index": 0}
        text = (_begin(0, type="text", text="Yes.", citations=[]), _more(0, "citations_delta", citation=quote))
        assert _streamed(_stream(*text))[0].metadata == {"annotations": [{**quote, "block": 0}]}

    def test_later_counts_replace_earlier_ones(self) -> None:
        reply, _ = _streamed(_stream(usage={"input_tokens": None, "cache_read_input_tokens": 3, "output_tokens": 9}))
        assert reply.usage == Usage(input_tokens=15, output_tokens=9, cache_read_tokens=3)

    def test_text_for_a_block_that_never_began_is_text(self) -> None:
        assert _streamed(_stream(_more(0, "text_delta", text="Yes.")))[0].content == [TextBlock(text="Yes.")]

    @pytest.mark.parametrize(
        ("stream", "fault"),
        [
            (b"", "empty"),
            (b": ping\n\n", "empty"),
            (event("ping"), "empty"),
            (event("message_start", message=_said(reason=None)), "truncated"),
            (b"".join(events(Sent(text="Half of", done=False))), "truncated"),
            (b"".join(events(Sent(text="Half of", finish_reason=None))), "truncated"),
            (b"".join(events(Sent(finish_reason=None))), "no_answer"),
            (b'event: message_start\ndata: {"type": \n\n', "not_json"),
            (_stream(_more(0, "input_json_delta", partial_json="{}")), "no_answer"),
            (
                _stream(_begin(0, type="text", text="Ha"), event("error", error={"type": "rate_limit_error"})),
                "rate_limit",
            ),
        ],
    )
    def test_what_is_no_proven_answer_is_a_fault(self, stream: bytes, fault: str) -> None:
        assert _fault(lambda: _streamed(stream)) == fault


class TestAnswerTool:
    CALL = Sent(text="Here:", calls=(Call("answer", '{"name": "Ann"}', "toolu_1"),))

    def test_its_call_is_text(self) -> None:
        tool = AnswerTool("answer", wrapped=False)
        assert _whole(unary(self.CALL), tool).content == [TextBlock(text="Here:"), TextBlock(text='{"name":"Ann"}')]
        reply, pieces = _streamed(b"".join(events(self.CALL)), answer=tool)
        assert reply.content == [TextBlock(text="Here:"), TextBlock(text='{"name": "Ann"}')]
        assert {piece.kind for piece in pieces} == {"text"}
        assert reply.finish_reason == "stop"

    def test_a_wrapped_answer_is_taken_out(self) -> None:
        call = Sent(calls=(Call("answer", '{"value": [1, "é"]}', "toolu_1"),))
        reply, pieces = _streamed(b"".join(events(call)), answer=AnswerTool("answer", wrapped=True))
        assert reply.content == [TextBlock(text='[1,"é"]')]
        assert pieces == [Piece("text", 0, '[1,"é"]')]

    def test_a_wrapped_answer_that_does_not_parse_is_left_as_it_is(self) -> None:
        call = Sent(calls=(Call("answer", '{"value": [1', "toolu_1"),))
        assert _whole(unary(call), AnswerTool("answer", wrapped=True)).content == [TextBlock(text='{"value": [1')]

    def test_other_calls_stay_calls(self) -> None:
        assert _whole(unary(FULL), AnswerTool("answer", wrapped=False)).finish_reason == "tool_call"

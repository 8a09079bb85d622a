"""Reading answers of the responses API, and proving that they have ended."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import (
    Base64Source,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    URLSource,
)
from natscope.contracts.model import Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.responses_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent
from tests.loopback.responses_wire import REASONING, SEALED, event, events, response, unary

FULL = Sent(
    text="Grüße, 世界 🌍.",
    thinking="Let me think.",
    calls=(Call("look", '{"at": "é"}', "call_a"), Call("listen", "", "call_b")),
)


def _whole(body: bytes | dict[str, Any], *, wrapped: bool = False) -> Reply:
    draft = Draft("openai", "asked-for", wrapped=wrapped)
    draft.whole(body if isinstance(body, bytes) else json.dumps(body).encode())
    return draft.end()


def _answer(*output: dict[str, Any], **changes: Any) -> Reply:
    return _whole(response(Sent(), output=list(output), **changes))


def _streamed(stream: bytes, size: int = 1 << 20) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft("openai", "asked-for"), Splitter(), list[Piece]()
    for start in range(0, len(stream), size):
        pieces += draft.take(splitter.feed(stream[start : start + size]))
    return draft.end(), pieces


def _message(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": "m", "role": "assistant", "content": list(parts), **more}


def _says(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, **more}


def _kept(item: dict[str, Any], *pictures: dict[str, Any]) -> UnknownBlock:
    block = {"type": "responses_item", "provider": "openai", "item": item}
    return UnknownBlock.model_validate({**block, "pictures": list(pictures)} if pictures else block)


class TestWhole:
    def test_every_kind_of_block_is_read(self) -> None:
        reply = _whole(unary(FULL))
        assert reply.content == [
            ThinkingBlock(
                thinking="Let me think.",
                provider="openai",
                redacted=SEALED,
                metadata={"id": REASONING, "told": "summary"},
            ),
            TextBlock(text="Grüße, 世界 🌍."),
            ToolUseBlock(id="call_a", name="look", input={"at": "é"}, raw_input='{"at": "é"}'),
            ToolUseBlock(id="call_b", name="listen", input={}, raw_input=""),
        ]
        assert (reply.finish_reason, reply.model, reply.response_id) == ("tool_call", "loopback-1", "resp_loopback")

    def test_usage_tells_what_was_cached_and_reasoned(self) -> None:
        assert _whole(unary(FULL)).usage == Usage(
            input_tokens=12, output_tokens=7, cache_read_tokens=3, reasoning_tokens=2
        )

    def test_each_part_of_a_summary_is_a_block_and_the_first_holds_what_is_sealed(self) -> None:
        summary = [{"type": "summary_text", "text": text} for text in ("First.", "Then.")]
        item = {"type": "reasoning", "id": "rs", "summary": summary, "encrypted_content": "opaque=="}
        blocks = _answer(item).content
        assert [(b.thinking, b.redacted) for b in blocks if isinstance(b, ThinkingBlock)] == [
            ("First.", "opaque=="),
            ("Then.", None),
        ]

    def test_reasoning_that_tells_nothing_but_is_sealed_is_kept(self) -> None:
        (block,) = _answer({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "opaque=="}).content
        assert isinstance(block, ThinkingBlock)
        assert (block.thinking, block.redacted) == ("", "opaque==")

    def test_reasoning_with_nothing_in_it_is_passed_over(self) -> None:
        assert _answer({"type": "reasoning", "id": "rs", "summary": []}, _message(_says("Yes."))).content == [
            TextBlock(text="Yes.")
        ]

    def test_reasoning_in_full_is_told_from_a_summary(self) -> None:
        item = {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
        (block,) = _answer(item).content
        assert isinstance(block, ThinkingBlock)
        assert (block.thinking, block.metadata) == ("Hm.", {"id": "rs", "told": "content"})

    def test_a_refusal_is_text_and_is_marked(self) -> None:
        reply = _answer(_message({"type": "refusal", "refusal": "I will not."}))
        assert reply.content == [TextBlock(text="I will not.")]
        assert reply.metadata == {"refusal": "I will not."}

    def test_phases_and_quotations_are_noted_with_the_message(self) -> None:
        note = {"type": "url_citation", "url": "https://example.com", "start_index": 0, "end_index": 3}
        reply = _answer(
            _message(_says("I look."), phase="commentary"),
            _message(_says("Found.", annotations=[note]), phase="final_answer"),
        )
        assert reply.metadata == {"phases": ["commentary", "final_answer"], "annotations": [note]}

    @pytest.mark.parametrize(
        ("reason", "ours"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")]
    )
    def test_an_incomplete_answer_says_why(self, reason: str | None, ours: str) -> None:
        details = {"reason": reason} if reason else None
        reply = _answer(_message(_says("It is")), status="incomplete", incomplete_details=details)
        assert (reply.content, reply.finish_reason) == ([TextBlock(text="It is")], ours)

    def test_a_limit_that_left_no_room_for_a_word_is_an_answer(self) -> None:
        reply = _answer(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
        assert (reply.content, reply.finish_reason) == ([], "length")

    def test_a_call_of_a_cut_answer_is_no_reason_to_act(self) -> None:
        call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"at": '}
        reply = _answer(call, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
        assert reply.finish_reason == "length"
        assert reply.content == [ToolUseBlock(id="c", name="look", input={}, raw_input='{"at": ')]

    def test_a_call_without_an_id_gets_one(self) -> None:
        (call,) = _answer({"type": "function_call", "name": "look", "arguments": "{}"}).content
        assert isinstance(call, ToolUseBlock)
        assert call.id.startswith("call_")

    def test_a_value_that_was_wrapped_is_taken_out(self) -> None:
        body = response(Sent(text='{"value": [1, 2]}'))
        assert _whole(body, wrapped=True).content == [TextBlock(text="[1,2]")]
        assert _whole(body).content == [TextBlock(text='{"value": [1, 2]}')]

    def test_a_status_that_is_not_said_is_no_fault_of_an_answer(self) -> None:
        body = response(Sent(text="Yes."))
        del body["status"]
        assert _whole(body).content == [TextBlock(text="Yes.")]


class TestToolsOfTheProvider:
    @pytest.mark.parametrize(
        "kind",
        [
            "web_search_call", "file_search_call", "code_interpreter_call", "mcp_call", "mcp_list_tools",
            "computer_call", "compaction", "something_new",
        ],
    )  # fmt: skip
    def test_their_work_is_kept_as_it_came(self, kind: str) -> None:
        item = {"type": kind, "id": "x", "status": "completed", "action": {"type": "search"}, "outputs": None}
        reply = _answer(item, _message(_says("Found.")))
        assert (reply.content, reply.finish_reason) == ([_kept(item), TextBlock(text="Found.")], "stop")

    @pytest.mark.parametrize(
        ("item", "name", "raw"),
        [
            ({"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "SELECT 1"}, "sql", "SELECT 1"),
            (
                {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}},
                "local_shell",
                '{"command":["ls"]}',
            ),
        ],
    )
    def test_calls_that_are_for_us_to_answer_are_kept(self, item: dict[str, Any], name: str, raw: str) -> None:
        reply = _answer(_message(_says("Let me see.")), {**item, "id": "x", "status": "completed"})
        (call,) = [block for block in reply.content if isinstance(block, ToolUseBlock)]
        assert (call.id, call.name, call.raw_input, reply.finish_reason) == ("c", name, raw, "tool_call")

    def test_an_answer_of_nothing_else_is_an_answer(self) -> None:
        item = {"type": "web_search_call", "id": "ws", "status": "completed"}
        assert _answer(item).content == [_kept(item)]

    def test_a_filtered_answer_of_nothing_else_is_refused(self) -> None:
        item = {"type": "web_search_call", "id": "ws"}
        with pytest.raises(Failed, match="content_filter"):
            _answer(item, status="incomplete", incomplete_details={"reason": "content_filter"})

    def test_a_picture_is_a_block_of_its_own(self) -> None:
        item = {"type": "image_generation_call", "id": "ig", "result": "aGk=", "output_format": "webp"}
        assert _answer(item).content == [
            _kept({**item, "result": None}, {"at": ["result"], "before": ""}),
            ImageBlock(source=Base64Source(data="aGk=", media_type="image/webp")),
        ]

    def test_a_picture_that_code_drew_is_a_block_of_its_own(self) -> None:
        logs = {"type": "logs", "logs": "42"}
        item = {"type": "code_interpreter_call", "id": "ci", "code": "plot()"}
        drawn = {"type": "image", "url": "data:image/jpeg;base64,aGk="}
        assert _answer({**item, "outputs": [logs, drawn]}, _message(_says("Here."))).content == [
            _kept(
                {**item, "outputs": [logs, {**drawn, "url": None}]},
                {"at": ["outputs", 1, "url"], "before": "data:image/jpeg;base64,"},
            ),
            ImageBlock(source=Base64Source(data="aGk=", media_type="image/jpeg")),
            TextBlock(text="Here."),
        ]

    def test_the_address_of_a_picture_stays_where_it_is(self) -> None:
        drawn = {"type": "image", "url": "https://example.com/a"}
        item = {"type": "code_interpreter_call", "id": "ci", "outputs": [drawn]}
        source = URLSource(url="https://example.com/a", media_type="image/png")
        assert _answer(item).content == [_kept(item, {"at": []}), ImageBlock(source=source)]

    def test_their_work_is_the_same_in_a_stream(self) -> None:
        begun = {"type": "web_search_call", "id": "ws", "status": "in_progress"}
        done = {**begun, "status": "completed", "action": {"type": "search", "query": "é"}}
        reply, pieces = _streamed(
            event("response.output_item.added", output_index=0, item=begun)
            + event("response.output_item.done", output_index=0, item=done)
            + event("response.completed", response=response(Sent(), output=[done, _message(_says("Found."))]))
        )
        assert reply.content == [_kept(done), TextBlock(text="Found.")]
        assert [(piece.block, piece.text) for piece in pieces] == [(1, "Found.")]

    def test_their_events_are_passed_over_in_a_stream(self) -> None:
        first = event("response.web_search_call.searching", output_index=0, item_id="ws")
        partial = event("response.image_generation_call.partial_image", partial_image_b64="aGk=", output_index=0)
        begin, *rest = events(Sent(text="Found."))
        reply, _ = _streamed(b"".join((begin, first, partial, *rest)))
        assert reply.content == [TextBlock(text="Found.")]


class TestStreams:
    @pytest.mark.parametrize("size", [1, 7, 1 << 20])
    def test_end_in_the_same_message_however_they_are_cut(self, size: int) -> None:
        reply, pieces = _streamed(b"".join(events(FULL)), size)
        assert reply == _whole(unary(FULL))
        for number, said in enumerate(["Let me think.", "Grüße, 世界 🌍.", '{"at": "é"}', ""]):
            assert "".join(piece.text for piece in pieces if piece.block == number) == said

    def test_a_call_is_announced_with_its_id_and_tool(self) -> None:
        _, pieces = _streamed(b"".join(events(FULL)), 64)
        assert [(p.block, p.call_id, p.tool) for p in pieces if p.call_id] == [
            (2, "call_a", "look"),
            (3, "call_b", "listen"),
        ]

    def test_what_is_sealed_is_taken_from_the_whole_item(self) -> None:
        reply, _ = _streamed(b"".join(events(Sent(thinking="Hm.", text="Yes."))))
        assert [b.redacted for b in reply.content if isinstance(b, ThinkingBlock)] == [SEALED]

    def test_a_stream_without_deltas_tells_its_text_when_the_item_is_whole(self) -> None:
        sparse = [each for each in events(FULL) if b".delta" not in each]
        reply, pieces = _streamed(b"".join(sparse))
        assert reply == _whole(unary(FULL))
        assert "".join(piece.text for piece in pieces if piece.kind == "text") == "Grüße, 世界 🌍."

    def test_a_stream_of_its_last_event_alone_is_an_answer(self) -> None:
        assert _streamed(events(FULL)[-1])[0] == _whole(unary(FULL))

    def test_an_end_that_repeats_nothing_is_an_end(self) -> None:
        bare = event("response.completed", response=response(Sent(), output=[]))
        reply, _ = _streamed(b"".join((*events(FULL)[:-1], bare)))
        assert reply.content == _whole(unary(FULL)).content

    def test_items_that_go_by_other_names_at_the_end_are_not_doubled(self) -> None:
        *begin, end = events(FULL)
        reply, _ = _streamed(b"".join((*begin, end.replace(b'"id": "', b'"id": "other-'))))
        assert [block.type for block in reply.content] == ["thinking", "text", "tool_use", "tool_use"]

    def test_arguments_that_come_before_their_call_are_kept(self) -> None:
        call = {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": ""}
        reply, pieces = _streamed(
            event("response.function_call_arguments.delta", output_index=0, item_id="f", delta='{"at": 1}')
            + event("response.output_item.done", output_index=0, item=call)
            + event("response.completed", response=response(Sent(), output=[call]))
        )
        assert reply.content == [ToolUseBlock(id="c", name="look", input={"at": 1}, raw_input='{"at": 1}')]
        assert [piece.text for piece in pieces] == ['{"at": 1}']

    def test_nothing_is_read_after_the_end(self) -> None:
        reply, _ = _streamed(b"".join(events(FULL)) + event("error", message="late") + b"data: [DONE]\n\n")
        assert reply == _whole(unary(FULL))

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_an_incomplete_stream_says_why(self, reason: str) -> None:
        reply, _ = _streamed(b"".join(events(Sent(text="It is", finish_reason=reason))))
        assert (reply.content, reply.finish_reason) == ([TextBlock(text="It is")], reason)

    def test_an_end_that_names_its_status_inside_is_understood(self) -> None:
        *begin, _ = events(Sent(text="Yes."))
        end = event("response.done", response=response(Sent(text="Yes.")))
        assert _streamed(b"".join((*begin, end)))[0].content == [TextBlock(text="Yes.")]

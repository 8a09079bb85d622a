"""Reading chat completions answers in the shapes that endpoints have been seen to give them."""

import base64
import json
from typing import Any

import pytest

from natscope.contracts.blocks import AudioBlock, Base64Source, ImageBlock, TextBlock, ThinkingBlock, ToolUseBlock
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.chat_reply import Draft
from services.model_gateway.wires.sse import Splitter

SOUND = base64.b64encode(b"RIFF....WAVEfmt ").decode()


def _whole(message: dict[str, Any], reason: str | None = "stop", **more: Any) -> Reply:
    draft = Draft("openai", "asked-for")
    draft.whole(json.dumps({"choices": [{"message": message, "finish_reason": reason}], **more}).encode())
    return draft.end()


def _streamed(*chunks: dict[str, Any], done: bool = True) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft("openai", "asked-for"), Splitter(), list[Piece]()
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    for frame in (*frames, *([b"data: [DONE]\n\n"] if done else [])):
        pieces += draft.take(splitter.feed(frame))
    return draft.end(), pieces


def _chunk(delta: dict[str, Any], reason: str | None = None, index: int | None = 0, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": reason}], **more}


def _call(name: str | None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{**more, "type": "function", "function": {"name": name, "arguments": arguments}}]}


def _calls(reply: Reply) -> list[tuple[str, str]]:
    return [(block.name, block.raw_input) for block in reply.content if isinstance(block, ToolUseBlock)]


class TestCalls:
    def test_of_the_same_index_are_told_apart_by_id(self) -> None:
        reply, _ = _streamed(
            _chunk(_call("a", "{}", id="1", index=0)), _chunk(_call("b", "{}", id="2", index=0)), _chunk({}, "stop")
        )
        assert _calls(reply) == [("a", "{}"), ("b", "{}")]

    def test_of_the_same_index_without_ids_are_told_apart_by_their_end(self) -> None:
        reply, _ = _streamed(_chunk(_call("a", '{"x": 1}', id="", index=0)), _chunk(_call("a", "{}", id="", index=0)))
        assert _calls(reply) == [("a", '{"x": 1}'), ("a", "{}")]
        ids = [block.id for block in reply.content if isinstance(block, ToolUseBlock)]
        assert len(set(ids)) == 2
        assert all(ids)

    def test_of_one_id_get_ids_of_their_own(self) -> None:
        both = [{**_call(name, "{}", id="call_0", index=place)["tool_calls"][0]} for place, name in enumerate("ab")]
        streamed, pieces = _streamed(*(_chunk({"tool_calls": [each]}) for each in both), _chunk({}, "tool_calls"))
        for reply in (streamed, _whole({"content": None, "tool_calls": both}, "tool_calls")):
            ids = [block.id for block in reply.content if isinstance(block, ToolUseBlock)]
            assert (ids[0], len(set(ids))) == ("call_0", 2)
        assert [piece.call_id for piece in pieces] == [b.id for b in streamed.content if isinstance(b, ToolUseBlock)]

    def test_without_an_index_each_chunk_is_one(self) -> None:
        reply, _ = _streamed(_chunk(_call("a", "{}", id="1")), _chunk(_call("b", "{}", id="2")))
        assert _calls(reply) == [("a", "{}"), ("b", "{}")]

    def test_without_an_index_go_on_with_the_last_one(self) -> None:
        reply, _ = _streamed(_chunk(_call("a", '{"x"', id="1")), _chunk(_call(None, ": 1}")))
        assert _calls(reply) == [("a", '{"x": 1}')]

    def test_may_be_interleaved(self) -> None:
        reply, pieces = _streamed(
            _chunk(_call("a", '{"x"', id="1", index=0)),
            _chunk(_call("b", '{"y"', id="2", index=1)),
            _chunk(_call(None, ": 1}", index=0)),
            _chunk(_call(None, ": 2}", index=1)),
        )
        assert _calls(reply) == [("a", '{"x": 1}'), ("b", '{"y": 2}')]
        assert [piece.block for piece in pieces] == [0, 1, 0, 1]

    def test_may_say_their_name_later(self) -> None:
        reply, pieces = _streamed(
            _chunk(_call("", '{"x"', id="1", index=0)), _chunk(_call("a", ": 1}", index=0)), _chunk({}, "tool_calls")
        )
        assert _calls(reply) == [("a", '{"x": 1}')]
        assert (pieces[0].tool, pieces[0].call_id, "".join(piece.text for piece in pieces)) == ("a", "1", '{"x": 1}')

    def test_may_repeat_their_name(self) -> None:
        reply, _ = _streamed(_chunk(_call("a", '{"x"', id="1", index=0)), _chunk(_call("a", ": 1}", id="1", index=0)))
        assert _calls(reply) == [("a", '{"x": 1}')]

    def test_may_all_have_the_index_0_in_one_piece(self) -> None:
        calls = [{"index": 0, "id": "", "function": {"name": name, "arguments": "{}"}} for name in "ab"]
        assert _calls(_whole({"tool_calls": calls})) == [("a", "{}"), ("b", "{}")]

    def test_may_have_arguments_that_are_no_text(self) -> None:
        assert _calls(_whole(_call("a", {"x": 1}, id="1"))) == [("a", '{"x":1}')]
        assert _calls(_whole(_call("a", None, id="1"))) == [("a", "")]

    @pytest.mark.parametrize("streamed", [False, True])
    def test_may_be_of_the_old_kind(self, streamed: bool) -> None:
        if streamed:
            first, more = (
                {"function_call": {"name": "a", "arguments": ""}},
                {"function_call": {"arguments": '{"x": 1}'}},
            )
            reply, _ = _streamed(_chunk(first), _chunk(more), _chunk({}, "function_call"))
        else:
            reply = _whole({"content": None, "function_call": {"name": "a", "arguments": '{"x": 1}'}}, "function_call")
        assert _calls(reply) == [("a", '{"x": 1}')]
        assert reply.finish_reason == "tool_call"

    def test_that_are_empty_shells_are_none(self) -> None:
        message = {
            "content": "Hi.",
            "function_call": {"name": "", "arguments": ""},
            "tool_calls": [{"id": "", "function": {"name": "", "arguments": ""}}],
            "audio": {"data": "", "id": "", "transcript": ""},
        }
        assert _whole(message, "").content == [TextBlock(text="Hi.")]

    def test_of_custom_tools_are_calls(self) -> None:
        custom = {"id": "1", "type": "custom", "custom": {"name": "a", "input": "SELECT 1"}, "function": {"name": ""}}
        assert _calls(_whole({"tool_calls": [custom]}, "tool_calls")) == [("a", "SELECT 1")]


class TestWords:
    def test_the_first_of_several_answers_counts(self) -> None:
        reply, _ = _streamed(
            _chunk({"content": "A"}),
            _chunk({"content": "X"}, index=1),
            _chunk({}, "length", index=1),
            _chunk({"content": "B"}),
            _chunk({}, "stop"),
        )
        assert (reply.content, reply.finish_reason) == ([TextBlock(text="AB")], "stop")

    def test_the_end_of_another_answer_proves_nothing(self) -> None:
        with pytest.raises(Failed, match="truncated"):
            _streamed(_chunk({"content": "A"}), _chunk({}, "stop", index=1), done=False)

    def test_content_may_be_a_list_of_parts(self) -> None:
        parts = [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "One, "},
            {"type": "reference", "reference_ids": [1]},
            {"type": "text", "text": "two."},
        ]
        reply = _whole({"content": parts})
        assert reply.metadata == {"annotations": [parts[2]]}
        assert reply.content == [ThinkingBlock(thinking="hm", provider="openai"), TextBlock(text="One, two.")]

    def test_content_may_be_json_already(self) -> None:
        assert _whole({"content": {"a": 1}}).content == [TextBlock(text='{"a":1}')]

    def test_a_refusal_is_text_and_is_marked(self) -> None:
        reply = _whole({"content": None, "refusal": "I will not."})
        assert (reply.content, reply.metadata) == ([TextBlock(text="I will not.")], {"refusal": True})

    def test_annotations_are_kept_beside_the_text(self) -> None:
        note = {"type": "url_citation", "url_citation": {"url": "https://example.org"}}
        assert _whole({"content": "Yes.", "annotations": [note]}).metadata == {"annotations": [note]}

    def test_details_are_not_told_twice(self) -> None:
        detail = {"type": "reasoning.text", "index": 0}
        reply, pieces = _streamed(
            _chunk({"reasoning": "h", "reasoning_details": [{**detail, "text": "h"}]}),
            _chunk({"reasoning": "m", "reasoning_details": [{**detail, "text": "m"}]}),
            _chunk({"reasoning_details": [{**detail, "signature": "c2ln"}]}),
            _chunk({"content": "Yes."}, "stop"),
        )
        thought = reply.content[0]
        assert isinstance(thought, ThinkingBlock)
        assert (thought.thinking, thought.signature) == ("hm", "c2ln")
        assert "".join(piece.text for piece in pieces if piece.kind == "thinking") == "hm"

    def test_sound_is_a_block_and_its_transcript_text(self) -> None:
        audio = {"id": "audio_1", "data": SOUND, "transcript": "Hello.", "expires_at": 1}
        assert _whole({"content": None, "audio": audio}).content == [
            TextBlock(text="Hello."),
            AudioBlock(source=Base64Source(data=SOUND, media_type="audio/wav")),
        ]

    def test_sound_may_be_streamed(self) -> None:
        raw = [base64.b64encode(each).decode() for each in (b"\x00\x01", b"\x02\x03\x04")]
        chunks = [_chunk({"audio": {"data": data, "transcript": word}}) for data, word in zip(raw, "ab", strict=True)]
        reply, _ = _streamed(*chunks, _chunk({}, "stop"))
        whole = base64.b64encode(b"\x00\x01\x02\x03\x04").decode()
        assert reply.content == [
            TextBlock(text="ab"),
            AudioBlock(source=Base64Source(data=whole, media_type="audio/pcm")),
        ]

    def test_pictures_are_blocks(self) -> None:
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
        assert _whole({"content": "", "images": [picture]}).content == [
            ImageBlock(source=Base64Source(data="iVBORw==", media_type="image/png"))
        ]

    def test_a_whole_message_may_come_in_one_event(self) -> None:
        reply, pieces = _streamed({"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]})
        assert reply.content == [TextBlock(text="Hi.")]
        assert [piece.text for piece in pieces] == ["Hi."]


class TestPlaces:
    @pytest.mark.parametrize("index", [None, 0])
    def test_of_choices_may_be_left_open_in_some_chunks(self, index: int | None) -> None:
        first, second = _chunk({"content": "a"}, index=index), _chunk({"content": "b"})
        for chunks, text in (((first, second), "ab"), ((second, first), "ba")):
            assert _streamed(*chunks, _chunk({}, "stop", index=index))[0].content == [TextBlock(text=text)]


class TestEnds:
    @pytest.mark.parametrize(
        ("reason", "told"),
        [
            ("eos", "stop"),
            ("end_turn", "stop"),
            ("MAX_TOKENS", "length"),
            ("model_length", "length"),
            ("sensitive", "content_filter"),
            ("tool_calls", "stop"),
            ("eos_token", "stop"),
            ("token_limit", "length"),
            ("MAX_OUTPUT", "length"),
        ],
    )
    def test_have_many_names(self, reason: str, told: str) -> None:
        assert _whole({"content": "Hi."}, reason).finish_reason == told

    @pytest.mark.parametrize(
        ("reason", "fault"),
        [
            ("error", "server_error"),
            ("network_error", "server_error"),
            ("insufficient_system_resource", "overloaded"),
            ("MALFORMED_FUNCTION_CALL", "malformed_call"),
            ("abort", "truncated"),
            ("load", "overloaded"),
        ],
    )
    def test_may_say_that_there_is_no_answer(self, reason: str, fault: str) -> None:
        with pytest.raises(Failed, match=fault):
            _whole({"content": "Hal"}, reason)
        with pytest.raises(Failed, match=fault):
            _streamed(_chunk({"content": "Hal"}), _chunk({}, reason))

    def test_need_no_reason_in_a_whole_answer_that_says_something(self) -> None:
        draft = Draft("openai", "m")
        draft.whole(b'{"choices": [{"message": {"content": "Hi."}}]}')
        assert draft.end().finish_reason == "stop"

    @pytest.mark.parametrize("message", [{}, {"content": ""}, {"content": None, "tool_calls": []}])
    def test_need_a_reason_where_nothing_is_said(self, message: dict[str, Any]) -> None:
        with pytest.raises(Failed, match="truncated"):
            _whole(message, None)

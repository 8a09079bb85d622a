"""Reading Gemini's answers, and proving that they have ended."""

import base64
import json
from typing import Any

import pytest
from google.genai import types

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
)
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.gemini import Forced, body
from services.model_gateway.wires.gemini_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.gemini_wire import RESPONSE, SIGNATURE, chunk, event, events, unary
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent

OURS = "gcp.gemini"
FULL = Sent(
    text="Grüße, 世界 🌍.",
    thinking="Let me think.",
    calls=(Call("look", '{"at": "é"}', "call_a"), Call("listen", "", "call_b")),
)
Part = dict[str, Any]


def _whole(sent: bytes | dict[str, Any] | list[Any], *, forced: Forced | None = None) -> Reply:
    draft = Draft(OURS, "asked-for", forced=forced)
    draft.whole(sent if isinstance(sent, bytes) else json.dumps(sent).encode())
    return draft.end()


def _streamed(stream: bytes, size: int = 1 << 20) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft(OURS, "asked-for"), Splitter(), list[Piece]()
    for start in range(0, len(stream), size):
        pieces += draft.take(splitter.feed(stream[start : start + size]))
    return draft.end(), pieces


def _answer(*parts: Part, reason: str = "STOP", **more: Any) -> dict[str, Any]:
    return chunk(Sent(finish_reason=reason), list(parts), **more)


def _stream(*parts: Part) -> tuple[Reply, list[Piece]]:
    chunks = [chunk(Sent(), [part], last=False) for part in parts]
    return _streamed(b"".join(map(event, [*chunks, _answer({"text": ""})])))


def _fault(call: Any) -> str:
    with pytest.raises(Failed) as caught:
        call()
    return caught.value.name


def _again(content: list[ContentBlock], model: str = "gemini-2.5-flash") -> list[Part]:
    ask = Chat(model="x", messages=[Message(name="a", role="assistant", content=content)])
    return json.loads(body(ask, model=model, provider=OURS))["contents"][0]["parts"]


class TestWhole:
    def test_every_kind_of_block_is_read(self) -> None:
        reply = _whole(unary(FULL))
        assert reply.content == [
            ThinkingBlock(thinking="Let me think.", provider=OURS),
            TextBlock(text="Grüße, 世界 🌍."),
            ThinkingBlock(thinking="", provider=OURS, signature=SIGNATURE),
            ToolUseBlock(id="call_a", name="look", input={"at": "é"}, raw_input='{"at":"é"}'),
            ToolUseBlock(id="call_b", name="listen", input={}, raw_input="{}"),
        ]
        assert (reply.finish_reason, reply.model, reply.response_id) == ("tool_call", "loopback-1", RESPONSE)

    def test_what_the_package_itself_reads_is_the_same(self) -> None:
        theirs = types.GenerateContentResponse.model_validate_json(unary(FULL))
        reply = _whole(unary(FULL))
        uses = [block for block in reply.content if isinstance(block, ToolUseBlock)]
        calls = [(call.id, call.name, call.args) for call in theirs.function_calls or []]
        assert calls == [(use.id, use.name, use.input) for use in uses]
        parts = (theirs.candidates or [])[0].content
        assert parts is not None
        assert [part.text for part in parts.parts or [] if part.text] == ["Let me think.", "Grüße, 世界 🌍."]

    def test_usage_includes_thoughts_tools_and_what_was_cached(self) -> None:
        value = _answer({"text": "Yes."})
        value["usageMetadata"] = {
            "promptTokenCount": 100,
            "toolUsePromptTokenCount": 20,
            "candidatesTokenCount": 50,
            "thoughtsTokenCount": "30",
            "cachedContentTokenCount": 80,
        }
        usage = Usage(input_tokens=120, output_tokens=80, cache_read_tokens=80, reasoning_tokens=30)
        assert _whole(value).usage == usage

    def test_a_list_of_chunks_is_an_answer(self) -> None:
        assert _whole([chunk(Sent(), [{"text": "Y"}], last=False), _answer({"text": "es."})]).content == [
            TextBlock(text="Yes.")
        ]

    def test_calls_without_ids_get_ids_that_are_always_the_same(self) -> None:
        call = {"functionCall": {"name": "look", "args": {"at": 1}}}
        ids = [[use.id for use in Message(name="a", role="assistant", content=each).tool_uses] for each in (
            _whole(_answer(call, call)).content, _stream(call, call)[0].content, _whole(_answer(call, call)).content
        )]  # fmt: skip
        assert ids[0] == ids[1] == ids[2]
        assert ids[0][0] != ids[0][1]
        other = _whole(_answer(call, responseId="another")).content[0]
        assert isinstance(other, ToolUseBlock)
        assert other.id not in ids[0]

    def test_media_are_blocks_and_sound_in_pieces_is_one(self) -> None:
        def media(kind: str, data: str) -> Part:
            return {"inlineData": {"mimeType": kind, "data": data}}

        pcm = "audio/L16;codec=pcm;rate=24000"
        reply = _whole(
            _answer(media("image/png", "_-8"), media(pcm, "AAE="), media(pcm, "AgM="), media("text/csv", "YQ=="))
        )
        image, sound, file = reply.content
        assert image == ImageBlock(source=Base64Source(data="/+8=", media_type="image/png"))
        assert sound == AudioBlock(source=Base64Source(data="AAECAw==", media_type=pcm))
        assert isinstance(file, FileBlock)
        assert file.name == "file.csv"

    def test_parts_without_a_word_of_ours_are_kept_and_go_back_as_they_came(self) -> None:
        code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "s1=="}
        result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}
        content = _whole(_answer(code, result, {"text": "One.", "newThing": {}})).content
        assert [type(block) for block in content] == [UnknownBlock, UnknownBlock, TextBlock]
        read = Message.model_validate_json(Message(name="a", role="assistant", content=content).model_dump_json())
        assert _again(read.content) == [code, result, {"text": "One."}]

    def test_what_is_said_beside_the_answer_is_kept_beside_it(self) -> None:
        value = _answer({"text": "Yes."})
        value["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["x"]}
        assert _whole(value).metadata == {"groundingMetadata": {"webSearchQueries": ["x"]}}

    @pytest.mark.parametrize(
        ("schema_wrapped", "arguments", "text"),
        [(False, {"n": 1}, '{"n":1}'), (True, {"value": [1, 2]}, "[1,2]")],
    )
    def test_a_call_that_stands_for_the_answer_is_its_text(
        self, schema_wrapped: bool, arguments: dict[str, Any], text: str
    ) -> None:
        call = {"functionCall": {"name": "answer", "args": arguments}, "thoughtSignature": "s"}
        reply = _whole(_answer(call), forced=Forced("answer", schema_wrapped))
        assert reply.content[-1] == TextBlock(text=text)
        assert reply.finish_reason == "stop"

    @pytest.mark.parametrize(
        ("sent", "fault"),
        [
            (b"", "empty"),
            (b"  \n", "empty"),
            (b"<html>down</html>", "not_json"),
            (b"[]", "empty"),
            (b"[1]", "not_json"),
            (unary(FULL)[:-9], "not_json"),
            (b"{}", "no_answer"),
            (b'{"choices": [{"message": {"content": "Yes."}}]}', "no_answer"),
            (b'{"candidates": []}', "no_answer"),
            (b'{"candidates": "nonsense"}', "no_answer"),
            (b'{"candidates": [{"finishReason": "STOP"}]}', "no_answer"),
            (b'{"promptFeedback": {"blockReason": "SAFETY"}}', "content_filter"),
            (b'{"candidates": [], "promptFeedback": {"blockReason": 1}}', "content_filter"),
            (b'[{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}]', "rate_limit"),
            (unary(Sent(text="half", finish_reason=None)), "truncated"),
            (unary(Sent(text="half", finish_reason="FINISH_REASON_UNSPECIFIED")), "truncated"),
            (json.dumps(_answer({"functionCall": {"args": {}}})).encode(), "malformed_call"),
            (json.dumps(_answer({"inlineData": {"data": "%"}})).encode(), "not_json"),
        ],
    )
    def test_what_is_no_proven_answer_is_a_fault(self, sent: bytes, fault: str) -> None:
        assert _fault(lambda: _whole(sent)) == fault


class TestReasons:
    @pytest.mark.parametrize(
        ("reason", "with_text", "without"),
        [
            ("STOP", "stop", "stop"),
            ("MAX_TOKENS", "length", "length"),
            ("SAFETY", "content_filter", "! content_filter"),
            ("RECITATION", "content_filter", "! content_filter"),
            ("PROHIBITED_CONTENT", "content_filter", "! content_filter"),
            ("MODEL_ARMOR", "content_filter", "! content_filter"),
            ("IMAGE_SAFETY", "content_filter", "! content_filter"),
            ("MALFORMED_FUNCTION_CALL", "! malformed_call", "! malformed_call"),
            ("UNEXPECTED_TOOL_CALL", "! malformed_call", "! malformed_call"),
            ("OTHER", "length", "! no_answer"),
            ("NO_IMAGE", "length", "! no_answer"),
            ("OF_A_LATER_VERSION", "length", "! no_answer"),
            ("MISSING_THOUGHT_SIGNATURE", "! bad_request", "! bad_request"),
        ],
    )
    def test_say_how_it_ended(self, reason: str, with_text: str, without: str) -> None:
        for parts, expected in (({"text": "Yes."},), with_text), ((), without):
            value = _answer(*parts, reason=reason)
            if expected.startswith("! "):
                assert _fault(lambda value=value: _whole(value)) == expected[2:]
            else:
                assert _whole(value).finish_reason == expected

    def test_may_be_numbers(self) -> None:
        value = _answer({"text": "Yes."})
        value["candidates"][0]["finishReason"] = 2
        assert _whole(value).finish_reason == "length"
        value["candidates"][0]["finishReason"] = 0
        assert _fault(lambda: _whole(value)) == "truncated"

    def test_what_was_refused_is_told_in_googles_words(self) -> None:
        value = _answer(reason="MODEL_ARMOR")
        value["candidates"][0]["finishMessage"] = "The response violated the policy."
        with pytest.raises(Failed) as caught:
            _whole(value)
        assert caught.value.said == "The response violated the policy."


class TestStream:
    @pytest.mark.parametrize("size", [1, 7, 1 << 20])
    def test_gives_the_same_message_as_in_one_piece_wherever_it_is_cut(self, size: int) -> None:
        reply, _ = _streamed(b"".join(events(FULL)), size)
        whole = _whole(unary(FULL))
        assert (reply.content, reply.finish_reason, reply.usage) == (whole.content, whole.finish_reason, whole.usage)

    @pytest.mark.parametrize("size", [1, 1 << 20])
    def test_its_pieces_make_up_its_blocks(self, size: int) -> None:
        _, pieces = _streamed(b"".join(events(FULL)), size)
        texts = ["".join(piece.text for piece in pieces if piece.block == block) for block in range(5)]
        assert texts == ["Let me think.", "Grüße, 世界 🌍.", "", '{"at":"é"}', "{}"]
        assert [(p.call_id, p.tool) for p in pieces if p.call_id] == [("call_a", "look"), ("call_b", "listen")]

    def test_that_ends_tidily_before_its_end_mark_is_truncated(self) -> None:
        assert _fault(lambda: _streamed(b"".join(events(FULL)[:-1]))) == "truncated"

    @pytest.mark.parametrize("stream", [b"", b": ping\r\n\r\n"])
    def test_without_an_event_is_empty(self, stream: bytes) -> None:
        assert _fault(lambda: _streamed(stream)) == "empty"

    def test_with_an_error_inside_is_that_fault_however_it_is_framed(self) -> None:
        error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
        begun = events(FULL)[0]
        assert _fault(lambda: _streamed(begun + event(error))) == "overloaded"
        assert _fault(lambda: _streamed(begun + json.dumps(error, indent=2).encode() + b"\r\n\r\n")) == "overloaded"

    def test_an_error_after_the_end_does_no_harm(self) -> None:
        stream = b"".join(events(Sent(text="Yes."))) + event({"error": {"code": 500}}) + b"data: {\r\n\r\n"
        assert _streamed(stream)[0].content == [TextBlock(text="Yes.")]

    def test_with_garbled_json_is_a_fault(self) -> None:
        assert _fault(lambda: _streamed(b'data: {"candidates" 1}\r\n\r\n')) == "not_json"

    def test_usage_may_come_after_the_end(self) -> None:
        last = {"usageMetadata": {"promptTokenCount": 99}}
        assert _streamed(b"".join(events(Sent(text="Yes."))) + event(last))[0].usage.input_tokens == 99


class TestCallsInPieces:
    def test_are_put_together(self) -> None:
        def more(path: str, going_on: bool = True, **value: Any) -> Part:
            return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": going_on}}

        reply, pieces = _stream(
            {"functionCall": {"name": "look", "willContinue": True}, "thoughtSignature": "s"},
            more("$.at.place", stringValue="New ", willContinue=True),
            more("$.at.place", stringValue="Delhi"),
            more("$.at.rooms[0]", numberValue=1),
            more("$.at.rooms[1]", boolValue=True),
            more("$['no']", nullValue="NULL_VALUE"),
            {"functionCall": {}},
            {"functionCall": {"name": "listen", "args": {}}},
        )
        uses = [block for block in reply.content if isinstance(block, ToolUseBlock)]
        arguments = {"at": {"place": "New Delhi", "rooms": [1, True]}, "no": None}
        assert [(use.name, use.input) for use in uses] == [("look", arguments), ("listen", {})]
        assert [json.loads(piece.text) for piece in pieces] == [arguments, {}]

    @pytest.mark.parametrize("path", ["", "$", "$.a[7]", "$..", "$.a[0]", "$.a.b", "$" + ".b" * 99])
    def test_that_do_not_fit_are_a_fault(self, path: str) -> None:
        put = [{"jsonPath": "$.a", "stringValue": "x"}, {"jsonPath": path, "stringValue": "y"}]
        call = {"functionCall": {"name": "look", "partialArgs": put}}
        assert _fault(lambda: _whole(_answer(call))) == "malformed_call"

    def test_that_do_not_end_are_a_fault(self) -> None:
        call = {"functionCall": {"name": "look", "willContinue": True}}
        assert _fault(lambda: _whole(_answer(call))) == "malformed_call"
        assert _fault(lambda: _whole(_answer(call, call))) == "malformed_call"


class TestSignatures:
    PARTS = (
        {"text": "Hm.", "thought": True},
        {"text": "So.", "thought": True, "thoughtSignature": "t+/=="},
        {"text": "Yes.", "thoughtSignature": "x+/=="},
        {"functionCall": {"id": "1", "name": "look", "args": {"a": [1, 2.5, None]}}, "thoughtSignature": "c+/=="},
        {"functionCall": {"id": "2", "name": "look", "args": {}}},
    )

    def test_go_back_byte_by_byte_where_they_were(self) -> None:
        back = _again(_whole(_answer(*self.PARTS)).content)
        assert back == [{"text": "Hm.So.", "thought": True, "thoughtSignature": "t+/=="}, *self.PARTS[2:]]

    def test_do_so_after_a_detour_over_the_bus(self) -> None:
        content = _whole(_answer(*self.PARTS)).content
        said = Message(name="a", role="assistant", content=content)
        assert _again(Message.model_validate_json(said.model_dump_json()).content) == _again(content)

    def test_in_a_stream_do_not_split_the_text(self) -> None:
        reply, _ = _stream({"text": "Yes", "thoughtSignature": "a"}, {"text": ", no"}, {"text": "."})
        assert Message(name="a", role="assistant", content=reply.content).text == "Yes, no."
        assert _again(reply.content) == [{"text": "Yes, no.", "thoughtSignature": "a"}]
        late, _ = _stream({"text": "Yes"}, {"text": "."}, {"text": "", "thoughtSignature": "z"})
        assert _again(late.content) == [{"text": "Yes."}, {"text": "", "thoughtSignature": "z"}]

    def test_that_hang_on_an_empty_thought_stay_there(self) -> None:
        thought = {"text": "", "thought": True, "thoughtSignature": "e"}
        call = {"functionCall": {"id": "1", "name": "look", "args": {}}}
        assert _again(_whole(_answer(thought, call)).content) == [thought, call]

    def test_that_hang_on_a_picture_go_back_on_it(self) -> None:
        data = base64.b64encode(b"png").decode()
        part = {"inlineData": {"mimeType": "image/png", "data": data}, "thoughtSignature": "p"}
        assert _again(_whole(_answer(part)).content) == [part]

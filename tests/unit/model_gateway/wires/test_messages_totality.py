"""Reading whatever may come as a messages answer: it is a reply or a fault, never another exception."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.message import Message
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.messages_output import AnswerTool
from services.model_gateway.wires.messages_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.faults import BROKEN
from tests.loopback.messages_wire import events, faulty, unary
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent

FULL = b"".join(events(Sent(text="Grüße.", thinking="Hm.", calls=(Call("look", '{"at": "é"}', "toolu_a"),))))


def _whole(body: bytes) -> Reply:
    draft = Draft("anthropic", "asked-for")
    draft.whole(body)
    return draft.end()


def _streamed(stream: bytes, size: int = 1 << 20, answer: AnswerTool | None = None) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft("anthropic", "asked-for", answer=answer), Splitter(), list[Piece]()
    for start in range(0, len(stream), size):
        pieces += draft.take(splitter.feed(stream[start : start + size]))
    return draft.end(), pieces


def _fault(call: Any) -> str:
    with pytest.raises(Failed) as caught:
        call()
    return caught.value.name


class TestFaults:
    @pytest.mark.parametrize("streamed", [False, True])
    @pytest.mark.parametrize(
        "name", [name for name in BROKEN if "html" not in name and name not in ("reset", "stall", "tcp cut")]
    )
    def test_none_passes_for_an_answer(self, name: str, streamed: bool) -> None:
        body = faulty(name, streamed=streamed)
        stream = b"".join(events(body)) if streamed else unary(body)
        if name == "malformed tool args":
            reply = _streamed(stream)[0] if streamed else _whole(stream)
            assert [block.input for block in reply.content if isinstance(block, ToolUseBlock)] == [{}]
        else:
            assert _fault(lambda: _streamed(stream) if streamed else _whole(stream))


_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=4),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_VALUE = _JSON | some.sampled_from(
    ["text", "thinking", "tool_use", "redacted_thinking", "text_delta", "signature_delta", 0, 1, {}]
)
_NAMES = [
    "type",
    "index",
    "delta",
    "content_block",
    "message",
    "usage",
    "content",
    "stop_reason",
    "text",
    "thinking",
    "id",
]
_NAMES += ["input", "partial_json", "signature", "data", "citations", "error", "input_tokens", "name", "stop_details"]
_OBJECT = some.dictionaries(some.sampled_from(_NAMES), _VALUE, max_size=6)
_EVENT = some.builds(
    lambda kind, fields, inner, more: {**fields, **{name: inner for name in more}, "type": kind},
    some.sampled_from(
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    )
    | _JSON,
    _OBJECT,
    _OBJECT,
    some.lists(some.sampled_from(["delta", "content_block", "message", "usage"]), max_size=3),
)


class TestWhateverComes:
    @given(some.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        for read in (_whole, _streamed):
            with contextlib.suppress(Failed):
                read(data)

    @given(_OBJECT, some.lists(_OBJECT, max_size=3))
    def test_an_object(self, fields: dict[str, Any], content: list[dict[str, Any]]) -> None:
        for body in (fields, {**fields, "content": content}):
            with contextlib.suppress(Failed):
                assert isinstance(_whole(json.dumps(body).encode()), Reply)

    @given(some.lists(_EVENT, max_size=8), some.booleans())
    def test_a_stream(self, found: list[dict[str, Any]], wrapped: bool) -> None:
        stream = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in found)
        try:
            reply, pieces = _streamed(stream, answer=AnswerTool("", wrapped))
        except Failed:
            return
        assert all(piece.block < len(reply.content) for piece in pieces)
        Message(name="a", role="assistant", content=reply.content).model_dump_json()

    @given(some.integers(0, len(FULL)), some.integers(1, 64))
    def test_a_stream_that_is_cut_somewhere(self, end: int, size: int) -> None:
        if end < len(FULL) - 2:
            assert _fault(lambda: _streamed(FULL[:end], size)) in ("empty", "truncated")

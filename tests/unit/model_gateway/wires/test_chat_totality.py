"""Reading whatever may come as a chat completions answer: it is a reply or a fault, never another exception."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolUseBlock
from natscope.contracts.message import Message
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.chat_output import Plan
from services.model_gateway.wires.chat_reply import Draft
from services.model_gateway.wires.http_faults import failed
from services.model_gateway.wires.sse import Splitter
from services.model_gateway.wires.unread import calls_in
from tests.loopback.chat_wire import events, faulty, unary
from tests.loopback.faults import BROKEN
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent

FULL = b"".join(events(Sent(text="Grüße.", thinking="Hm.", calls=(Call("look", '{"at": "é"}', "call_a"),))))
PROOF = FULL.index(b'"finish_reason": "tool_calls"') + len(b'"finish_reason": "tool_calls"')
PLAN = Plan(answer_tool="answer", wrapped=True)


def _whole(body: bytes) -> Reply:
    draft = Draft("openai", "asked-for", planned=PLAN)
    draft.whole(body)
    return draft.end()


def _streamed(stream: bytes, size: int = 1 << 20) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft("openai", "asked-for"), Splitter(), list[Piece]()
    for start in range(0, len(stream), size):
        pieces += draft.take(splitter.feed(stream[start : start + size]))
    return draft.end(), pieces


_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=4),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_WORDS = ["text", "thinking", "reasoning.text", "stop", "length", "error", "answer", "{}", "data:image/png;base64,aa="]
_NAMES = ["content", "reasoning", "reasoning_content", "reasoning_details", "refusal", "annotations", "tool_calls"]
_NAMES += [
    "function_call",
    "function",
    "custom",
    "name",
    "arguments",
    "input",
    "id",
    "index",
    "type",
    "audio",
    "images",
]
_NAMES += ["data", "transcript", "image_url", "url", "text", "signature", "extra_content", "google"]
_NAMES += ["thought_signature", "usage", "prompt_tokens", "completion_tokens", "prompt_tokens_details", "error", "code"]
_NAMES += ["message", "delta", "finish_reason", "choices", "metadata", "raw", "base_resp", "status_code", "detail"]
_OBJECT = some.recursive(
    some.dictionaries(some.sampled_from(_NAMES), _JSON | some.sampled_from(_WORDS), max_size=5),
    lambda inner: some.dictionaries(
        some.sampled_from(_NAMES), inner | some.lists(inner, max_size=2) | some.sampled_from(_WORDS), max_size=4
    ),
    max_leaves=8,
)
_CHUNK = some.builds(
    lambda part, delta, reason, index, more: {
        **more,
        "choices": [{part: delta, "finish_reason": reason, "index": index}],
    },
    some.sampled_from(["delta", "delta", "message"]),
    _OBJECT,
    some.sampled_from([None, None, "stop", "length", "", "tool_calls"]) | _JSON,
    some.sampled_from([0, 0, 1, None]),
    _OBJECT,
)


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
            return
        with pytest.raises(Failed):
            _streamed(stream) if streamed else _whole(stream)


class TestWhateverComes:
    @given(some.binary(max_size=60))
    def test_bytes(self, data: bytes) -> None:
        for read in (_whole, _streamed):
            with contextlib.suppress(Failed):
                read(data)

    @given(_OBJECT | _CHUNK)
    def test_an_object(self, found: dict[str, Any]) -> None:
        with contextlib.suppress(Failed):
            reply = _whole(json.dumps(found).encode())
            Message(name="a", role="assistant", content=reply.content).model_dump_json()

    @given(some.lists(_CHUNK | _OBJECT, max_size=8))
    def test_a_stream_and_its_pieces_make_up_its_blocks(self, found: list[dict[str, Any]]) -> None:
        stream = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in found)
        try:
            reply, pieces = _streamed(stream)
        except Failed:
            return
        heard: dict[int, str] = {}
        for piece in pieces:
            heard[piece.block] = heard.get(piece.block, "") + piece.text
        for place, text in heard.items():
            block = reply.content[place]
            assert text == {
                TextBlock: lambda b: b.text,
                ThinkingBlock: lambda b: b.thinking,
                ToolUseBlock: lambda b: b.raw_input,
            }[type(block)](block)
        Message(name="a", role="assistant", content=reply.content).model_dump_json()

    @given(some.integers(0, len(FULL)), some.integers(1, 64))
    def test_a_stream_that_is_cut_somewhere_is_an_answer_only_after_its_end(self, end: int, size: int) -> None:
        if end < PROOF:
            with pytest.raises(Failed, match=r"empty|truncated"):
                _streamed(FULL[:end], size)
            return
        with contextlib.suppress(Failed):
            assert _streamed(FULL[:end], size)[0].content == _streamed(FULL)[0].content

    @given(some.integers(300, 599), _OBJECT | _JSON, some.dictionaries(some.just("retry-after"), some.text(max_size=5)))
    def test_an_error(self, status: int, body: Any, headers: dict[str, str]) -> None:
        fault = failed("openai", status, headers, json.dumps(body).encode(), secret="sk-0123456789")
        fault.error(model="m", attempts=1)

    @given(some.text(max_size=40) | _OBJECT.map(json.dumps))
    def test_what_a_provider_could_not_read(self, text: str) -> None:
        assert all(name for name, _ in calls_in(text))

"""Whatever bytes come on the Gemini wire, they are an answer or a fault with a name."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.message import Message
from services.model_gateway.ports import Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.gemini import Forced
from services.model_gateway.wires.gemini_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.gemini_wire import event, events, unary
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent

FULL = Sent(text="Grüße.", thinking="Hm.", calls=(Call("look", '{"at": 1}'), Call("look", "{}", "call_2")))
FRAMES = events(FULL)
FIELDS = st.sampled_from(
    [
        "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args", "id",
        "inlineData", "fileData", "fileUri", "mimeType", "data", "finishReason", "finishMessage", "index", "error",
        "code", "message", "status", "details", "promptFeedback", "blockReason", "usageMetadata", "promptTokenCount",
        "thoughtsTokenCount", "responseId", "modelVersion", "executableCode", "groundingMetadata",
        "partialArgs", "jsonPath", "willContinue", "stringValue", "numberValue",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    ["STOP", "MAX_TOKENS", "SAFETY", "OTHER", "answer", "AAAA", "audio/L16", "image/png", "503", "$.a[0].b", "$.a"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=6), max_leaves=24
)
PARTS = st.dictionaries(FIELDS, VALUES, max_size=4)


def _written(value: Any) -> bytes:
    return json.dumps(value).encode()


def _ended(draft: Draft) -> Reply | None:
    try:
        reply = draft.end()
    except Failed:
        return None
    Message(name="a", role="assistant", content=reply.content).model_dump_json()
    return reply


def _heard(stream: bytes) -> Reply | None:
    draft, splitter = Draft("gcp.gemini", "m", forced=Forced("answer", True)), Splitter()
    try:
        draft.take(splitter.feed(stream))
        draft.take(splitter.end())
    except Failed:
        return None
    return _ended(draft)


def _read(body: bytes) -> Reply | None:
    draft = Draft("gcp.gemini", "m")
    try:
        draft.whole(body)
    except Failed:
        return None
    return _ended(draft)


class TestAnything:
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        assert _read(data) is None
        assert _heard(data) is None

    @given(VALUES)
    def test_any_value(self, value: Any) -> None:
        _read(_written(value))
        _heard(event(value))

    @given(st.lists(st.lists(PARTS, max_size=4), max_size=4), VALUES)
    def test_any_parts(self, chunks: list[list[Any]], reason: Any) -> None:
        told = [{"candidates": [{"content": {"parts": parts}}]} for parts in chunks]
        last = {"candidates": [{"content": {"parts": []}, "finishReason": reason}]}
        _read(_written([*told, last]))
        _heard(b"".join(map(event, [*told, last])))

    @given(st.permutations(FRAMES[:-1]), st.integers(min_value=0, max_value=len(FRAMES)))
    def test_events_in_any_order_and_without_some(self, frames: list[bytes], count: int) -> None:
        assert _heard(b"".join(frames[:count])) is None
        assert _heard(b"".join(frames[:count]) + FRAMES[-1]) is not None

    @given(st.integers(min_value=0), st.binary(min_size=1, max_size=3))
    def test_an_answer_with_some_bytes_changed(self, where: int, change: bytes) -> None:
        for whole, read in ((unary(FULL), _read), (b"".join(FRAMES), _heard)):
            at = where % len(whole)
            read(whole[:at] + change + whole[at + len(change) :])

    @given(st.integers(min_value=0))
    def test_an_answer_that_is_cut_anywhere_is_none(self, where: int) -> None:
        body, stream = unary(FULL), b"".join(FRAMES)
        assert _read(body[: where % len(body)]) is None
        assert _heard(stream[: where % (len(stream) - len(FRAMES[-1]))]) is None

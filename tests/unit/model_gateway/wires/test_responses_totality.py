"""Whatever bytes come on the responses wire, they are an answer or a fault with a name."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.model_gateway.ports import Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.responses_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent
from tests.loopback.responses_wire import events, unary

FULL = Sent(text="Grüße.", thinking="Hm.", calls=(Call("look", '{"at": 1}'), Call("look", "{}", "call_2")))
FRAMES = events(FULL)
SAID = {json.loads(frame.split(b"data: ")[1])["type"] for frame in FRAMES}
UNSAID = {"response.incomplete", "response.failed", "response.done", "response.reasoning_text.delta", "error"}
KINDS = st.sampled_from(sorted(SAID | UNSAID))
ITEMS = st.sampled_from(["message", "reasoning", "function_call", "image_generation_call", "web_search_call", None])
FIELDS = st.sampled_from(
    [
        "type", "id", "status", "error", "output", "output_index", "content_index", "summary_index", "item", "item_id",
        "delta", "text", "content", "summary", "encrypted_content", "arguments", "call_id", "name", "response", "usage",
        "input_tokens", "input_tokens_details", "incomplete_details", "reason", "model", "result", "annotations",
        "code", "message",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | KINDS | ITEMS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=6), max_leaves=24
)
OBJECTS = st.dictionaries(FIELDS, VALUES, max_size=8)


def _written(value: Any) -> bytes:
    return json.dumps(value).encode()


def _ends(draft: Draft) -> Reply | None:
    try:
        return draft.end()
    except Failed:
        return None


def _heard(stream: bytes) -> Reply | None:
    draft, splitter = Draft("openai", "m", wrapped=True), Splitter()
    try:
        draft.take(splitter.feed(stream))
        draft.take(splitter.end())
    except Failed:
        return None
    return _ends(draft)


def _read(body: bytes) -> Reply | None:
    draft = Draft("openai", "m")
    try:
        draft.whole(body)
    except Failed:
        return None
    return _ends(draft)


class TestAnything:
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        assert _read(data) is None
        assert _heard(data) is None

    @given(OBJECTS)
    def test_any_object_in_one_piece(self, value: dict[str, Any]) -> None:
        _read(_written({**value, "output": value.get("output", [])}))

    @given(st.lists(st.tuples(KINDS, OBJECTS), max_size=8))
    def test_any_events(self, told: list[tuple[str, dict[str, Any]]]) -> None:
        _heard(b"".join(b"data: " + _written({**value, "type": kind}) + b"\n\n" for kind, value in told))

    @given(st.permutations(FRAMES[:-1]), st.integers(min_value=0, max_value=len(FRAMES)))
    def test_events_in_any_order_and_without_some(self, frames: list[bytes], count: int) -> None:
        assert _heard(b"".join(frames[:count])) is None
        _heard(b"".join(frames[:count]) + FRAMES[-1])

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

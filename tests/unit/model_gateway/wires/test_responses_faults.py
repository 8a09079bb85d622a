"""What is no answer on the responses wire, and what it is called."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.responses_reply import Draft
from services.model_gateway.wires.sse import Splitter
from tests.loopback.replies import Call
from tests.loopback.replies import Reply as Sent
from tests.loopback.responses_wire import event, events, response, unary

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


def _fault(call: Callable[[], object]) -> str:
    with pytest.raises(Failed) as caught:
        call()
    return caught.value.name


class TestFaults:
    def test_a_stream_without_its_end_is_truncated_wherever_it_stops(self) -> None:
        frames = events(FULL)
        for count in range(1, len(frames)):
            assert _fault(lambda count=count: _streamed(b"".join(frames[:count]))) == "truncated"

    def test_the_mark_of_another_wire_ends_nothing(self) -> None:
        assert _fault(lambda: _streamed(b"".join(events(FULL)[:-1]) + b"data: [DONE]\n\n")) == "truncated"

    @pytest.mark.parametrize("body", [b"", b" \n"])
    def test_an_empty_body_is_no_answer(self, body: bytes) -> None:
        assert _fault(lambda: _whole(body)) == "empty"

    @pytest.mark.parametrize("body", [b"<html>captcha</html>", b"[]", b'"text"', b'{"output": [', b"\xff\xfe"])
    def test_what_is_not_a_json_object_is_no_answer(self, body: bytes) -> None:
        assert _fault(lambda: _whole(body)) == "not_json"

    @pytest.mark.parametrize("body", [{"output": [], "status": "completed"}, {"hello": "world"}, {"output": None}])
    def test_an_answer_with_no_output_is_no_answer(self, body: dict[str, Any]) -> None:
        assert _fault(lambda: _whole(body)) == "no_answer"

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("error", "name"),
        [
            ({"code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit"),
            ({"code": "server_error", "message": "oops"}, "server_error"),
            ({"code": "context_length_exceeded", "message": "too long"}, "context_too_long"),
            (None, "server_error"),
        ],
    )
    def test_a_failed_response_says_what_failed(self, error: dict[str, Any] | None, name: str, stream: bool) -> None:
        failed = response(Sent(), status="failed", error=error, output=[])
        if stream:
            assert _fault(lambda: _streamed(events(FULL)[0] + event("response.failed", response=failed))) == name
        else:
            assert _fault(lambda: _whole(failed)) == name

    @pytest.mark.parametrize(
        "error",
        [
            event("error", code="rate_limit_exceeded", message="slow down", param=None),
            event("error", error={"type": "tokens", "code": "rate_limit_exceeded", "message": "slow down"}),
            b'data: {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}\n\n',
        ],
    )
    @pytest.mark.parametrize("before", [0, 1, 5])
    def test_an_error_event_is_an_error_wherever_it_comes(self, error: bytes, before: int) -> None:
        assert _fault(lambda: _streamed(b"".join(events(FULL)[:before]) + error)) == "rate_limit"

    def test_a_filter_that_left_nothing_is_a_refusal(self) -> None:
        details = {"reason": "content_filter"}
        assert _fault(lambda: _answer(status="incomplete", incomplete_details=details)) == "content_filter"

    def test_a_cancelled_response_is_no_answer(self) -> None:
        assert _fault(lambda: _answer(_message(_says("It")), status="cancelled")) == "truncated"

    def test_the_key_is_struck_out_of_what_the_provider_says(self) -> None:
        draft = Draft("openai", "m", key="OPENAI_API_KEY", secret="key-0123456789")
        with pytest.raises(Failed) as caught:
            draft.whole(b'{"error": {"message": "no access for key-0123456789", "code": "odd"}}')
        assert "key-0123456789" not in str(caught.value.error(model="m", attempts=1))


class TestPromises:
    @pytest.mark.parametrize("status", ["queued", "in_progress"])
    def test_a_response_that_is_not_written_yet_is_to_be_asked_for_again(self, status: str) -> None:
        draft = Draft("openai", "m")
        assert draft.whole(json.dumps(response(Sent(), status=status, output=[])).encode()) == []
        assert (draft.pending, draft.finished) == ("resp_loopback", False)
        draft.whole(unary(FULL))
        assert draft.pending is None
        assert draft.end() == _whole(unary(FULL))

    def test_an_answer_that_never_comes_is_truncated(self) -> None:
        draft = Draft("openai", "m")
        draft.whole(json.dumps(response(Sent(), status="queued", output=[])).encode())
        assert _fault(draft.end) == "truncated"

    def test_a_promise_that_cannot_be_asked_for_is_no_answer(self) -> None:
        assert _fault(lambda: _whole({"status": "queued", "output": []})) == "no_answer"

"""What the loopback provider sends on the chat completions wire."""

import json
from collections.abc import Iterator
from functools import lru_cache

from tests.loopback.replies import EVENTS, JSON, Call, Reply, cut

PATHS = ("/chat/completions",)
DONE = b"data: [DONE]\n\n"
_STATUSES: dict[str, tuple[int, str, str, str | None]] = {
    "429 retry-after": (429, "rate limit reached", "tokens", "rate_limit_exceeded"),
    "429 insufficient_quota": (429, "you exceeded your current quota", "insufficient_quota", "insufficient_quota"),
    "500": (500, "server error", "server_error", None),
    "529 overloaded": (529, "overloaded", "server_error", None),
    "401": (401, "Incorrect API key provided: sk-loopback-0123456789abcdef", "authentication", "invalid_api_key"),
    "403": (403, "forbidden", "invalid_request_error", None),
    "402": (402, "insufficient balance", "insufficient_balance", None),
    "404 model": (404, "the model does not exist", "invalid_request_error", "model_not_found"),
    "400 context_length": (400, "maximum context length is 8192", "invalid_request_error", "context_length_exceeded"),
    "400 content_filter": (400, "blocked by the content management policy", "invalid_request_error", "content_filter"),
    "408": (408, "timeout", "timeout", None),
}
_OVERLOADED = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": "overloaded"}}


def is_streamed(path: str, body: dict[str, object]) -> bool:
    """Return whether a request asks for a stream."""
    return bool(body.get("stream"))


def failure(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    retry_after: str | None = None,
) -> Reply:
    """Return an HTTP error in the shape of the API."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    headers = (("retry-after", retry_after),) if retry_after else ()
    return Reply(status=status, raw=json.dumps(body).encode(), headers=headers, content_type=JSON)


def _head(reply: Reply, kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-loopback", "object": kind, "created": 1_700_000_000, "model": reply.model}


def _usage(reply: Reply) -> dict[str, object]:
    prompt, completion = reply.tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _tool_call(call: Call) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


@lru_cache(maxsize=256)
def unary(reply: Reply) -> bytes:
    """Return the body of an answer in one piece."""
    if reply.raw is not None:
        return reply.raw
    message: dict[str, object] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.thinking is not None:
        message["reasoning_content"] = reply.thinking
    if reply.calls:
        message["tool_calls"] = [_tool_call(call) for call in reply.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.reason}
    return json.dumps({**_head(reply, "chat.completion"), "choices": [choice], "usage": _usage(reply)}).encode()


def _deltas(reply: Reply) -> Iterator[dict[str, object]]:
    yield {"role": "assistant", "content": ""}
    for piece in cut(reply.thinking or "", reply.pieces):
        yield {"reasoning_content": piece}
    for piece in cut(reply.text or "", reply.pieces):
        yield {"content": piece}
    for index, call in enumerate(reply.calls):
        function: dict[str, object] = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
        for piece in cut(call.arguments, reply.pieces):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@lru_cache(maxsize=256)
def events(reply: Reply) -> tuple[bytes, ...]:
    """Return the events of a streamed answer, framed."""
    if reply.raw is not None:
        return (reply.raw,)
    head = _head(reply, "chat.completion.chunk")
    out = [
        _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None})
        for delta in _deltas(reply)
    ]
    if reply.reason is not None:
        last = {"index": 0, "delta": {}, "finish_reason": reply.reason}
        out.append(_event({**head, "choices": [last], "usage": None}))
        out.append(_event({**head, "choices": [], "usage": _usage(reply)}))
    return (*out, DONE) if reply.done else tuple(out)


def faulty(name: str, *, streamed: bool, reply: Reply | None = None) -> Reply:
    """Return what a provider sends that has the fault `name`; see `faults.NAMES`. Without it `reply` would be right."""
    if name in _STATUSES:
        status, message, kind, code = _STATUSES[name]
        return failure(status, message, kind=kind, code=code, retry_after="0.05" if name == "429 retry-after" else None)
    right = reply or Reply(text="The answer is 42.", pieces=6)
    match name:
        case "503 html":
            return Reply(status=503, raw=b"<html>upstream</html>", content_type="text/html")
        case "reset":
            return Reply(reset=True)
        case "stall":
            return Reply(text=right.text, calls=right.calls, stall_s=30)
        case "tcp cut":
            return Reply(text=right.text, calls=right.calls, pieces=6, cut_after=3)
        case "200 html":
            return Reply(raw=b"<html>captcha</html>", content_type="text/html")
        case "malformed tool args":
            call = right.calls[0] if right.calls else Call("execute_python", '{"code": "1"}')
            return Reply(calls=(Call(call.name, call.arguments[:-1], call.id),))
        case _:
            body = _spoilt_stream(name, right) if streamed else _spoilt(name, right)
            return Reply(raw=body, content_type=EVENTS if streamed else JSON)


def _spoilt(name: str, reply: Reply) -> bytes:
    whole = unary(reply)
    return {
        "clean truncation": whole[: len(whole) * 3 // 5],
        "200 empty": b"",
        "error event mid-stream": json.dumps(_OVERLOADED).encode(),
        "error as first event": json.dumps(_OVERLOADED).encode(),
        "empty choices": json.dumps({**_head(reply, "chat.completion"), "choices": []}).encode(),
        "garbled json": whole.replace(b'"choices"', b'"cho', 1),
    }[name]


def _spoilt_stream(name: str, reply: Reply) -> bytes:
    whole = events(reply)
    empty = _event({**_head(reply, "chat.completion.chunk"), "choices": [], "usage": None})
    return {
        "clean truncation": b"".join(whole[: len(whole) * 3 // 5]),
        "200 empty": b"",
        "error event mid-stream": b"".join((*whole[:3], _event(_OVERLOADED))),
        "error as first event": _event(_OVERLOADED),
        "empty choices": empty * 3 + DONE,
        "garbled json": b"".join(whole).replace(b'"choices"', b'"cho', 1),
    }[name]

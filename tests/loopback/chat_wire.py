"""What the loopback provider sends on the chat completions wire."""

import json
from collections.abc import Iterator
from functools import lru_cache

from tests.loopback.replies import JSON, Call, Reply, cut

PATHS = ("/chat/completions",)
DONE = b"data: [DONE]\n\n"


def is_streamed(path: str, body: dict[str, object]) -> bool:
    """Return whether a request asks for a stream."""
    return bool(body.get("stream"))


def failure(status: int, message: str, *, code: str | None = None, retry_after: str | None = None) -> Reply:
    """Return an HTTP error in the shape of the API."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
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

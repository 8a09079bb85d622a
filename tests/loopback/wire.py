"""What the loopback provider sends: one reply as a JSON body or as server-sent events."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

JSON = "application/json"
EVENTS = "text/event-stream"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Call:
    """A tool call in a reply; `arguments` is the text exactly as the model would write it."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"


@dataclass(frozen=True)
class Reply:
    """One programmed answer. What is not said is as a healthy provider would do it."""

    text: str | None = None
    calls: tuple[Call, ...] = ()
    thinking: str | None = None
    finish_reason: str | None = "auto"
    """`auto`: `tool_calls` if there are calls, else `stop`; None: the end is never said."""
    pieces: int = 4
    """Into how many chunks a streamed text is cut."""
    tokens: tuple[int, int] = (12, 7)
    model: str = "loopback-1"
    done: bool = True
    """False: a stream ends without `[DONE]`."""
    whole: bool = False
    """Answered in one piece even if a stream was asked for."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    """Sent as the body instead of anything above."""
    content_type: str | None = None
    delay_s: float = 0
    """Before the headers."""
    pace_s: float = 0
    """Before each event of a stream."""
    cut_after: int | None = None
    """The connection is cut after so many events of a stream, or at once after the headers of a unary answer."""
    rechunk: int | None = None
    """A stream is written in slices of so many bytes, each in a segment of its own."""

    @property
    def reason(self) -> str | None:
        """The finish reason on the wire."""
        if self.finish_reason != "auto":
            return self.finish_reason
        return "tool_calls" if self.calls else "stop"


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


def cut(text: str, pieces: int) -> list[str]:
    """Return `text` in at most so many pieces that are about equally long."""
    size = max(1, -(-len(text) // pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]


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

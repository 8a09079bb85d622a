"""What the loopback provider sends on Anthropic's messages wire."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from tests.loopback.replies import EVENTS, JSON, Call, Reply, cut

Block = dict[str, Any]

PATHS = ("/v1/messages",)
SIGNATURE = "EqQBCkYIARgCKkCsigned+by/the=provider=="
"""The signature of the thinking that goes before every answer that thinks."""
REDACTED = "EmwKAhgBEgy3va3sealed+by/the=provider=="
"""Sent instead of the thinking whose text is empty."""
_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
_STATUSES: Mapping[str, tuple[int, str, str]] = {
    "429 retry-after": (429, "rate limit reached", "rate_limit_error"),
    "429 insufficient_quota": (429, "you exceeded your current quota", "rate_limit_error"),
    "500": (500, "server error", "api_error"),
    "529 overloaded": (529, "overloaded", "overloaded_error"),
    "401": (401, "invalid x-api-key", "authentication_error"),
    "403": (403, "forbidden", "permission_error"),
    "402": (402, "insufficient balance", "billing_error"),
    "404 model": (404, "model: claude-none", "not_found_error"),
    "400 context_length": (400, "prompt is too long: 210000 tokens > 200000 maximum", "invalid_request_error"),
    "400 content_filter": (400, "Output blocked by content filtering policy", "invalid_request_error"),
    "408": (408, "timeout", "timeout_error"),
}


def is_streamed(path: str, body: Mapping[str, object]) -> bool:
    """Return whether a request asks for a stream."""
    return bool(body.get("stream"))


def failure(status: int, message: str, *, kind: str = "invalid_request_error", retry_after: str | None = None) -> Reply:
    """Return an HTTP error in the shape of the API."""
    headers = (("retry-after", retry_after),) if retry_after else ()
    return Reply(status=status, raw=json.dumps(_error(kind, message)).encode(), headers=headers, content_type=JSON)


def turns(request: Mapping[str, Any]) -> Reply:
    """Answer with a call of the first tool offered, and once its result is there with a final text."""
    tools = request.get("tools")
    answered = any(part["type"] == "tool_result" for part in request["messages"][-1]["content"])
    if not tools or answered:
        return Reply(text="The answer is 42.")
    return Reply(thinking="A tool will do.", calls=(Call(tools[0]["name"], '{"code": "print(6 * 7)"}', "toolu_1"),))


def _error(kind: str, message: str) -> dict[str, object]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_loopback"}


def blocks(reply: Reply) -> list[Block]:
    """Return the content of an answer."""
    found: list[Block] = []
    if reply.thinking:
        found.append({"type": "thinking", "thinking": reply.thinking, "signature": SIGNATURE})
    elif reply.thinking is not None:
        found.append({"type": "redacted_thinking", "data": REDACTED})
    if reply.text is not None:
        found.append({"type": "text", "text": reply.text})
    for call in reply.calls:
        found.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)})
    return found


def _input(arguments: str) -> object:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def message(reply: Reply, **changes: object) -> Block:
    """Return an answer as an object; `changes` replace its fields."""
    given, made = reply.tokens
    usage = {"input_tokens": given, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    told = {
        "id": "msg_loopback",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": blocks(reply),
        "stop_reason": _REASONS.get(reply.reason or "", reply.reason),
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": made},
    }
    return {**told, **changes}


@lru_cache(maxsize=256)
def unary(reply: Reply) -> bytes:
    """Return the body of an answer in one piece."""
    return json.dumps(message(reply)).encode() if reply.raw is None else reply.raw


def event(kind: str, **fields: object) -> bytes:
    """Return an event, framed."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@lru_cache(maxsize=256)
def events(reply: Reply) -> tuple[bytes, ...]:
    """Return the events of a streamed answer, framed."""
    if reply.raw is not None:
        return (reply.raw,)
    given, made = reply.tokens
    usage = {"input_tokens": given, "output_tokens": 1}
    out = [event("message_start", message=message(reply, content=[], stop_reason=None, usage=usage)), event("ping")]
    texts = {place: call.arguments for place, call in enumerate(reply.calls, len(blocks(reply)) - len(reply.calls))}
    for index, block in enumerate(blocks(reply)):
        out.extend(_written(index, block, texts.get(index), reply.pieces))
    if reply.reason is not None:
        delta = {"stop_reason": _REASONS.get(reply.reason, reply.reason), "stop_sequence": None}
        out.append(event("message_delta", delta=delta, usage={"output_tokens": made}))
    return (*out, event("message_stop")) if reply.done else tuple(out)


def _written(index: int, block: Block, arguments: str | None, pieces: int) -> Iterator[bytes]:
    kind = block["type"]
    empty = {"text": "", "thinking": "", "signature": "", "input": {}}
    begun = {name: empty.get(name, value) if name != "type" else value for name, value in block.items()}
    yield event("content_block_start", index=index, content_block=begun)
    said, part = {
        "text": (block.get("text"), "text"),
        "thinking": (block.get("thinking"), "thinking"),
        "tool_use": (arguments, "partial_json"),
    }.get(kind, ("", ""))
    delta = {"partial_json": "input_json_delta"}.get(part, f"{part}_delta")
    for piece in cut(said or "", pieces):
        yield event("content_block_delta", index=index, delta={"type": delta, part: piece})
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": block["signature"]}
        yield event("content_block_delta", index=index, delta=signed)
    yield event("content_block_stop", index=index)


def faulty(name: str, *, streamed: bool, reply: Reply | None = None) -> Reply:
    """Return what a provider sends that has the fault `name`; see `faults.NAMES`. Without it `reply` would be right."""
    if name in _STATUSES:
        status, said, kind = _STATUSES[name]
        return failure(status, said, kind=kind, retry_after="0.05" if name == "429 retry-after" else None)
    right = reply or Reply(text="The answer is 42.")
    match name:
        case "503 html":
            return Reply(status=503, raw=b"<html>upstream</html>", content_type="text/html")
        case "reset":
            return Reply(reset=True)
        case "stall":
            return Reply(text=right.text, calls=right.calls, stall_s=30)
        case "tcp cut":
            return Reply(text=right.text, calls=right.calls, cut_after=4)
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
    error = json.dumps(_error("overloaded_error", "overloaded")).encode()
    return {
        "clean truncation": whole[: len(whole) * 3 // 5],
        "200 empty": b"",
        "error event mid-stream": error,
        "error as first event": error,
        "empty choices": json.dumps(message(reply, content=[], stop_reason=None)).encode(),
        "garbled json": whole.replace(b'"content"', b'"con', 1),
    }[name]


def _spoilt_stream(name: str, reply: Reply) -> bytes:
    whole = events(reply)
    error = event("error", error=_error("overloaded_error", "overloaded")["error"])
    return {
        "clean truncation": b"".join(whole[: len(whole) * 3 // 5]),
        "200 empty": b"",
        "error event mid-stream": b"".join((*whole[:4], error)),
        "error as first event": error,
        "empty choices": whole[0] + event("message_stop"),
        "garbled json": b"".join(whole).replace(b'"content_block"', b'"con', 1),
    }[name]

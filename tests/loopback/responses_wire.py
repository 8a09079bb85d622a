"""What the loopback provider sends on the responses wire."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from tests.loopback.replies import EVENTS, JSON, Call, Reply, cut

Item = dict[str, Any]

PATHS = ("/responses",)
SEALED = "gAAAAABo-_sealed+by/the=provider=="
"""The encrypted content of the reasoning that goes before every answer that thinks."""
REASONING = "rs_loopback"
_ENDS: Mapping[str | None, tuple[str, str | None]] = {
    "length": ("incomplete", "max_output_tokens"),
    "content_filter": ("incomplete", "content_filter"),
}
_HTML = b"<html>upstream</html>"
_STATUSES: Mapping[str, tuple[int, str, str | None]] = {
    "429 retry-after": (429, "rate limit reached", "rate_limit_exceeded"),
    "429 insufficient_quota": (429, "you exceeded your current quota", "insufficient_quota"),
    "500": (500, "server error", None),
    "529 overloaded": (529, "overloaded", None),
    "401": (401, "bad key", "invalid_api_key"),
    "403": (403, "forbidden", None),
    "402": (402, "insufficient balance", None),
    "404 model": (404, "the model does not exist", "model_not_found"),
    "400 context_length": (400, "the prompt is too long", "context_length_exceeded"),
    "400 content_filter": (400, "blocked by the content management policy", "content_filter"),
    "408": (408, "timeout", None),
}


def is_streamed(path: str, body: Mapping[str, object]) -> bool:
    """Return whether a request asks for a stream."""
    return bool(body.get("stream"))


def failure(status: int, message: str, *, code: str | None = None, retry_after: str | None = None) -> Reply:
    """Return an HTTP error in the shape of the API."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    headers = (("retry-after", retry_after),) if retry_after else ()
    return Reply(status=status, raw=json.dumps(body).encode(), headers=headers, content_type=JSON)


def turns(request: Mapping[str, Any]) -> Reply:
    """Answer with a call of the first tool offered, and once its result is there with a final text."""
    given = request.get("input", [])
    users = [i for i, item in enumerate(given) if item.get("role") == "user"]
    answered = any(item.get("type") == "function_call_output" for item in given[max(users, default=0) :])
    tools = request.get("tools")
    if not tools or answered:
        return Reply(text="The answer is 42.")
    return Reply(thinking="A tool will do.", calls=(Call(tools[0]["name"], '{"code": "print(6 * 7)"}'),))


def items(reply: Reply, *, whole: bool = True) -> list[Item]:
    """Return the output of an answer, or what each of its items begins with."""
    found: list[Item] = []
    if reply.thinking is not None:
        summary = [{"type": "summary_text", "text": reply.thinking}] if whole and reply.thinking else []
        sealed = SEALED if whole else "not yet"
        found.append({"type": "reasoning", "id": REASONING, "summary": summary, "encrypted_content": sealed})
    if reply.text is not None:
        content = [{"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}] if whole else []
        found.append({"type": "message", "id": "msg_1", "role": "assistant", "content": content})
    for place, call in enumerate(reply.calls):
        arguments = call.arguments if whole else ""
        one = {"type": "function_call", "id": f"fc_{place}", "call_id": call.id, "name": call.name}
        found.append({**one, "arguments": arguments})
    return [{**item, "status": "completed" if whole else "in_progress"} for item in found]


def response(reply: Reply, **changes: object) -> Item:
    """Return an answer as an object; `changes` replace its fields."""
    status, why = _ENDS.get(reply.reason, ("completed", None))
    given, made = reply.tokens
    usage = {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": given + made,
    }
    told = {
        "id": "resp_loopback",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "model": reply.model,
        "output": items(reply),
        "usage": usage,
    }
    return {**told, **changes}


@lru_cache(maxsize=256)
def unary(reply: Reply) -> bytes:
    """Return the body of an answer in one piece."""
    return json.dumps(response(reply)).encode() if reply.raw is None else reply.raw


def event(kind: str, **fields: object) -> bytes:
    """Return an event, framed."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@lru_cache(maxsize=256)
def events(reply: Reply) -> tuple[bytes, ...]:
    """Return the events of a streamed answer, framed."""
    if reply.raw is not None:
        return (reply.raw,)
    begun = response(reply, status="in_progress", output=[], usage=None, incomplete_details=None)
    out = [event("response.created", response=begun), event("response.in_progress", response=begun)]
    for place, (first, last) in enumerate(zip(items(reply, whole=False), items(reply), strict=True)):
        out.append(event("response.output_item.added", output_index=place, item=first))
        out.extend(_deltas(place, last, reply.pieces))
        out.append(event("response.output_item.done", output_index=place, item=last))
    if reply.reason is not None:
        whole = response(reply)
        out.append(event(f"response.{whole['status']}", response=whole))
    return tuple(out)


def _deltas(place: int, item: Item, pieces: int) -> Iterator[bytes]:
    where = {"item_id": item["id"], "output_index": place}
    if item["type"] == "function_call":
        for piece in cut(item["arguments"], pieces):
            yield event("response.function_call_arguments.delta", delta=piece, **where)
        yield event("response.function_call_arguments.done", arguments=item["arguments"], **where)
        return
    kind, field, index = (
        ("response.output_text", "content", "content_index")
        if item["type"] == "message"
        else ("response.reasoning_summary_text", "summary", "summary_index")
    )
    for number, part in enumerate(item[field]):
        where = {**where, index: number}
        for piece in cut(part["text"], pieces):
            yield event(f"{kind}.delta", delta=piece, **where)
        yield event(f"{kind}.done", text=part["text"], **where)


def faulty(name: str, *, streamed: bool, reply: Reply | None = None) -> Reply:
    """Return what a provider sends that has the fault `name`; see `faults.NAMES`. Without it `reply` would be right."""
    if name in _STATUSES:
        status, message, code = _STATUSES[name]
        return failure(status, message, code=code, retry_after="0.05" if name == "429 retry-after" else None)
    right = reply or Reply(text="The answer is 42.")
    match name:
        case "503 html":
            return Reply(status=503, raw=_HTML, content_type="text/html")
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
    error = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": "overloaded"}}
    return {
        "clean truncation": whole[: len(whole) * 3 // 5],
        "200 empty": b"",
        "error event mid-stream": json.dumps(error).encode(),
        "error as first event": json.dumps(error).encode(),
        "empty choices": json.dumps(response(reply, output=[])).encode(),
        "garbled json": whole.replace(b'"output"', b'"out', 1),
    }[name]


def _spoilt_stream(name: str, reply: Reply) -> bytes:
    whole = events(reply)
    error = event("error", code="overloaded", message="overloaded", param=None)
    empty = event("response.completed", response=response(reply, output=[]))
    return {
        "clean truncation": b"".join(whole[: len(whole) * 3 // 5]),
        "200 empty": b"",
        "error event mid-stream": b"".join((*whole[:4], error)),
        "error as first event": error,
        "empty choices": whole[0] + empty,
        "garbled json": b"".join(whole).replace(b'"output_index"', b'"out', 1),
    }[name]

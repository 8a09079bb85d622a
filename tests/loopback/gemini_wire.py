"""What the loopback provider sends on the Gemini wire."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from tests.loopback.replies import EVENTS, JSON, Call, Reply, cut

Value = dict[str, Any]

PATHS = (":generateContent", ":streamGenerateContent")
SIGNATURE = "EpAECo0EAXLI2nxafy/f5aSBk/v/LWxvb3BiYWNrIQ=="
"""Hangs on the first call of every answer that thinks, else on its text."""
RESPONSE = "loopback-response"
_REASONS: Mapping[str | None, str] = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}
_STATUSES: Mapping[str, tuple[int, str, str]] = {
    "429 retry-after": (429, "RESOURCE_EXHAUSTED", "rate limit reached"),
    "429 insufficient_quota": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, check your plan"),
    "500": (500, "INTERNAL", "An internal error has occurred."),
    "529 overloaded": (529, "UNAVAILABLE", "The model is overloaded."),
    "401": (401, "UNAUTHENTICATED", "bad key"),
    "403": (403, "PERMISSION_DENIED", "forbidden"),
    "402": (402, "FAILED_PRECONDITION", "insufficient balance"),
    "404 model": (404, "NOT_FOUND", "models/none is not found for API version v1beta"),
    "400 context_length": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "400 content_filter": (400, "INVALID_ARGUMENT", "blocked by the content management policy"),
    "408": (408, "DEADLINE_EXCEEDED", "timeout"),
}
_OVERLOADED: Value = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def is_streamed(path: str, body: Mapping[str, object]) -> bool:
    """Return whether a request asks for a stream."""
    return path.endswith(":streamGenerateContent")


def failure(status: int, message: str, *, code: str | None = None, retry_after: str | None = None) -> Reply:
    """Return an HTTP error in the shape of the API; `code` is its status, `retry_after` such as `0.05s`."""
    error: Value = {"code": status, "message": message, "status": code or "INVALID_ARGUMENT"}
    if retry_after is not None:
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_after}
        error["details"] = [info]
    return Reply(status=status, raw=json.dumps({"error": error}).encode(), content_type=JSON)


def turns(request: Mapping[str, Any]) -> Reply:
    """Answer with a call of the first tool offered, and once its result is there with a final text."""
    last = request["contents"][-1]["parts"] if request.get("contents") else []
    tools = request.get("tools")
    if not tools or any("functionResponse" in part for part in last):
        return Reply(text="The answer is 42.")
    name = tools[0]["functionDeclarations"][0]["name"]
    return Reply(thinking="A tool will do.", calls=(Call(name, '{"code": "print(6 * 7)"}'),))


def _parts(reply: Reply, pieces: int) -> Iterator[Value]:
    for piece in cut(reply.thinking or "", pieces):
        yield {"text": piece, "thought": True}
    for place, piece in enumerate(cut(reply.text or "", pieces)):
        signed = reply.thinking is not None and not reply.calls and place == 0
        yield {"text": piece, **({"thoughtSignature": SIGNATURE} if signed else {})}
    for place, call in enumerate(reply.calls):
        signed = reply.thinking is not None and place == 0
        made = {"name": call.name, "args": json.loads(call.arguments or "{}"), **({"id": call.id} if call.id else {})}
        yield {"functionCall": made, **({"thoughtSignature": SIGNATURE} if signed else {})}


def chunk(reply: Reply, parts: list[Value], *, last: bool = True, **more: object) -> Value:
    """Return a chunk of an answer, or all of it; `more` are fields beside its candidate."""
    candidate: Value = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if last and reply.reason is not None:
        candidate["finishReason"] = _REASONS.get(reply.reason, reply.reason)
    prompt, made = reply.tokens
    usage = {"promptTokenCount": prompt, "totalTokenCount": prompt + made}
    if last:
        usage |= {"candidatesTokenCount": made - 2, "thoughtsTokenCount": 2, "cachedContentTokenCount": 3}
    head = {"usageMetadata": usage, "modelVersion": reply.model, "responseId": RESPONSE}
    return {"candidates": [candidate], **head, **more}


@lru_cache(maxsize=256)
def unary(reply: Reply) -> bytes:
    """Return the body of an answer in one piece."""
    return json.dumps(chunk(reply, list(_parts(reply, 1))), indent=2).encode() if reply.raw is None else reply.raw


def event(value: object) -> bytes:
    """Return an event, framed as Google frames it."""
    return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"


@lru_cache(maxsize=256)
def events(reply: Reply) -> tuple[bytes, ...]:
    """Return the events of a streamed answer, framed."""
    if reply.raw is not None:
        return (reply.raw,)
    parts = list(_parts(reply, reply.pieces)) or [{"text": ""}]
    return tuple(event(chunk(reply, [part], last=place == len(parts) - 1)) for place, part in enumerate(parts))


def faulty(name: str, *, streamed: bool, reply: Reply | None = None) -> Reply:
    """Return what a provider sends that has the fault `name`; see `faults.NAMES`. Without it `reply` would be right."""
    if name in _STATUSES:
        status, code, message = _STATUSES[name]
        return failure(status, message, code=code, retry_after="0.05s" if name == "429 retry-after" else None)
    right = reply or Reply(text="The answer is 42.", pieces=6)
    match name:
        case "503 html":
            return Reply(status=503, raw=b"<html>upstream</html>", content_type="text/html")
        case "reset":
            return Reply(reset=True)
        case "stall":
            return Reply(text=right.text, calls=right.calls, stall_s=30)
        case "tcp cut":
            return Reply(text=right.text, calls=right.calls, pieces=6, cut_after=2)
        case "200 html":
            return Reply(raw=b"<html>captcha</html>", content_type="text/html")
        case "malformed tool args":
            return Reply(text="", finish_reason="MALFORMED_FUNCTION_CALL")
        case _:
            body = _spoilt_stream(name, right) if streamed else _spoilt(name, right)
            return Reply(raw=body, content_type=EVENTS if streamed else JSON)


def _spoilt(name: str, reply: Reply) -> bytes:
    whole = unary(reply)
    return {
        "clean truncation": whole[: len(whole) * 3 // 5],
        "200 empty": b"",
        "error event mid-stream": json.dumps(_OVERLOADED).encode(),
        "error as first event": json.dumps([_OVERLOADED]).encode(),
        "empty choices": json.dumps(chunk(reply, [], candidates=[])).encode(),
        "garbled json": whole.replace(b'"candidates"', b'"can', 1),
    }[name]


def _spoilt_stream(name: str, reply: Reply) -> bytes:
    whole = list(events(reply))
    half = whole[: len(whole) * 3 // 5] or [whole[0][:40]]
    return {
        "clean truncation": b"".join(half),
        "200 empty": b"",
        "error event mid-stream": whole[0] + json.dumps(_OVERLOADED, indent=2).encode() + b"\r\n\r\n",
        "error as first event": event(_OVERLOADED),
        "empty choices": event(chunk(reply, [], candidates=[])) * 2,
        "garbled json": b"".join(whole).replace(b'"candidates"', b'"can', 1),
    }[name]

"""Reads Gemini's answers, whole or as a stream, and proves that they have ended.

Total over whatever a provider may send: an answer of the wrong shape is a fault, never an exception of another kind.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping

from pydantic import JsonValue
from pydantic_core import from_json

from natscope.contracts.model import FinishReason, Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.gemini import Forced
from services.model_gateway.wires.gemini_faults import told, without
from services.model_gateway.wires.gemini_parts import Parts
from services.model_gateway.wires.http_faults import error_in

Json = dict[str, JsonValue]

_REASONS: Mapping[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
}
_FAULTS: Mapping[str, FaultName] = {
    "MALFORMED_FUNCTION_CALL": "malformed_call",
    "UNEXPECTED_TOOL_CALL": "malformed_call",
    "MALFORMED_RESPONSE": "malformed_call",
    "MISSING_THOUGHT_SIGNATURE": "bad_request",
    "PUP_LIMITED_DISABLED": "forbidden",
}
_NUMBERED = (
    "", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
    "MALFORMED_FUNCTION_CALL", "MODEL_ARMOR",
)  # fmt: skip
"""Finish reasons as Vertex AI counts them where it is asked for numbers (`$alt=json;enum-encoding=int`)."""
_ASIDE = ("groundingMetadata", "citationMetadata", "urlContextMetadata")
"""What is said about an answer beside it, as it was said last."""
_UNSAID = ("", "FINISH_REASON_UNSPECIFIED")


class Draft:
    """A message that is being written, chunk by chunk. One `Draft` reads one answer."""

    def __init__(
        self, provider: str, model: str, *, key: str | None = None, secret: str = "", forced: Forced | None = None
    ) -> None:
        self.finished = False
        """True once the end is proven; what may still come is the usage."""
        self._provider = provider
        self._key = key
        self._secret = secret
        self._model = model
        self._id: str | None = None
        self._reason = ""
        self._said = ""
        self._usage: Json = {}
        self._aside: Json = {}
        self._parts = Parts(provider, forced)
        self._began = self._answered = False

    def take(self, events: Iterable[bytes]) -> list[Piece]:
        """Read some events of a stream; what follows itself in the same block is one piece.

        What goes wrong once the end is proven does no harm.
        """
        pieces: list[Piece] = []
        for data in events:
            try:
                if data:
                    self._read(data, pieces)
            except Failed:
                if not self.finished:
                    raise
        return pieces

    def whole(self, body: bytes) -> list[Piece]:
        """Read an answer in one piece: one object, or a list of them."""
        if not body.strip():
            raise self._failed("empty")
        pieces: list[Piece] = []
        self._read(body.removeprefix(BOM_UTF8), pieces)
        return pieces

    def end(self) -> Reply:
        """Return the answer, for there will be no more.

        Raises:
            Failed: its end was never said, or nothing was.
        """
        if not self._answered:
            raise self._failed("no_answer" if self._began else "empty")
        if not self.finished:
            raise self._failed("truncated")
        if self._reason in _FAULTS:
            raise self._failed(_FAULTS[self._reason], self._said)
        if self._parts.is_open:
            raise self._failed("malformed_call")
        content = self._parts.closed()
        reason = _REASONS.get(self._reason)
        if reason is None:
            # Stopped for a reason of its own (OTHER, NO_IMAGE, TOO_MANY_TOOL_CALLS, …): what is there may be a half.
            if not content:
                raise self._failed("no_answer", f"{self._reason} {self._said}")
            reason = "length"
        if reason == "content_filter" and not content:
            raise self._failed("content_filter", self._said or self._reason)
        if reason == "stop" and self._parts.has_calls:
            reason = "tool_call"
        return Reply(content, reason, usage_of(self._usage), self._model, self._id, self._aside)

    def _read(self, data: bytes, pieces: list[Piece]) -> None:
        try:
            value: JsonValue = from_json(data)
        except ValueError:
            raise self._failed("not_json") from None
        chunks = value if isinstance(value, list) else [value]
        self._began = self._began or bool(chunks)
        for chunk in chunks:
            if not isinstance(chunk, dict):
                raise self._failed("not_json")
            self._chunk(chunk, pieces)

    def _chunk(self, value: Json, pieces: list[Piece]) -> None:
        if value.get("error") or "candidates" not in value:
            error = error_in(value)
            if error is not None:
                raise told(self._provider, error, key=self._key, secret=self._secret)
        if isinstance(found := value.get("responseId"), str) and found:
            self._id = found
        if isinstance(found := value.get("modelVersion"), str) and found:
            self._model = found
        if isinstance(found := value.get("usageMetadata"), dict):
            self._usage = {**self._usage, **found}
        candidate = _first(value.get("candidates"))
        if candidate is not None:
            self._candidate(candidate, pieces)
        elif isinstance(feedback := value.get("promptFeedback"), dict) and (reason := feedback.get("blockReason")):
            raise self._failed("content_filter", f"{reason} {feedback.get('blockReasonMessage') or ''}")

    def _candidate(self, candidate: Json, pieces: list[Piece]) -> None:
        content = candidate.get("content")
        if isinstance(content, dict):
            self._answered = True
            parts = content.get("parts")
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict) and (fault := self._parts.take(part, self._id, pieces)) is not None:
                    raise self._failed(fault)
        for name in _ASIDE:
            if found := candidate.get(name):
                self._aside[name] = found
        self._finish(candidate)

    def _finish(self, candidate: Json) -> None:
        reason = candidate.get("finishReason")
        if isinstance(reason, int) and not isinstance(reason, bool):
            reason = _NUMBERED[reason] if 0 <= reason < len(_NUMBERED) else f"REASON_{reason}"
        if isinstance(reason, str) and reason not in _UNSAID:
            self.finished = True
            self._reason = reason
            self._answered = self._answered or reason != "STOP"
        if isinstance(said := candidate.get("finishMessage"), str):
            self._said = said

    def _failed(self, name: FaultName, said: str = "") -> Failed:
        return Failed(name, provider=self._provider, key=self._key, said=without(self._secret, said))


def _first(candidates: JsonValue) -> Json | None:
    """Return the first candidate; others are alternatives that nobody asked for."""
    for candidate in candidates if isinstance(candidates, list) else ():
        if isinstance(candidate, dict) and not candidate.get("index"):
            return candidate
    return None


def usage_of(value: Mapping[str, JsonValue]) -> Usage:
    """Return the tokens that a `usageMetadata` counts. Google counts cached input within the prompt, thoughts apart."""
    thoughts = _count(value.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=_count(value.get("promptTokenCount")) + _count(value.get("toolUsePromptTokenCount")),
        output_tokens=_count(value.get("candidatesTokenCount")) + thoughts,
        cache_read_tokens=_count(value.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )


def _count(value: JsonValue) -> int:
    """Return a count; JSON made of protocol buffers writes large ones as text."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e15 else 0

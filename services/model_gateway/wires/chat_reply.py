"""Reads chat completions answers, whole or as a stream, and proves that they have ended.

Total over whatever a provider may send: an answer of the wrong shape is a fault, never an exception of another kind.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock
from natscope.contracts.contract import new_id
from natscope.contracts.model import FinishReason, Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.http_faults import error_in, told

DONE = b"[DONE]"
_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "content_filter": "content_filter",
}


@dataclass(slots=True)
class _Block:
    kind: Literal["text", "thinking", "tool_use"]
    number: int
    """Its place in the message."""
    parts: list[str] = field(default_factory=list[str])
    id: str = ""
    name: str = ""


class Draft:
    """A message that is being written, chunk by chunk. One `Draft` reads one answer."""

    def __init__(self, provider: str, model: str, *, key: str | None = None, secret: str = "") -> None:
        self.finished = False
        """True once the end is proven; what may still come is the usage."""
        self.done = False
        """True after `[DONE]`."""
        self._provider = provider
        self._key = key
        self._secret = secret
        self._model = model
        self._id: str | None = None
        self._reason: str | None = None
        self._usage = Usage()
        self._blocks: list[_Block] = []
        self._words: dict[str, _Block] = {}
        self._calls: dict[int, _Block] = {}
        self._answered = False

    def take(self, events: Iterable[bytes]) -> list[Piece]:
        """Read some events of a stream; what follows itself in the same block is one piece."""
        pieces: list[Piece] = []
        for data in events:
            if data == DONE:
                self.done = self.finished = True
            elif data:
                self._chunk(self._parsed(data), "delta", pieces)
        return pieces

    def whole(self, body: bytes) -> list[Piece]:
        """Read an answer in one piece."""
        if not body.strip():
            raise self._failed("empty")
        pieces: list[Piece] = []
        self._chunk(self._parsed(body), "message", pieces)
        return pieces

    def end(self) -> Reply:
        """Return the answer, for there will be no more.

        Raises:
            Failed: its end was never said, or nothing was.
        """
        if not self._answered:
            raise self._failed("no_answer" if self.finished or self._id else "empty")
        if not self.finished:
            raise self._failed("truncated")
        content = [_closed(block, self._provider) for block in self._blocks]
        reason = _REASONS.get(self._reason or "", "stop")
        if reason == "content_filter" and not content:
            raise self._failed("content_filter")
        if reason == "stop" and self._calls:
            reason = "tool_call"
        return Reply(content, reason, self._usage, self._model, self._id)

    def _parsed(self, data: bytes) -> dict[str, JsonValue]:
        try:
            value: JsonValue = from_json(data)
        except ValueError:
            raise self._failed("not_json") from None
        if not isinstance(value, dict):
            raise self._failed("not_json")
        if "choices" not in value and (error := error_in(value)) is not None:
            raise told(self._provider, error, key=self._key, secret=self._secret)
        if value.get("error"):
            raise told(self._provider, error_in(value) or {}, key=self._key, secret=self._secret)
        return value

    def _chunk(self, value: dict[str, JsonValue], part: str, pieces: list[Piece]) -> None:
        if isinstance(found := value.get("id"), str) and found:
            self._id = found
        if isinstance(found := value.get("model"), str) and found:
            self._model = found
        if isinstance(found := value.get("usage"), dict):
            self._usage = usage_of(found)
        choices = value.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choice := choices[0], dict):
            return
        if isinstance(error := choice.get("error"), dict):
            raise told(self._provider, error, key=self._key, secret=self._secret)
        self._choice(choice, part, pieces)

    def _choice(self, choice: dict[str, JsonValue], part: str, pieces: list[Piece]) -> None:
        reason = choice.get("finish_reason")
        if reason == "error":
            raise self._failed("server_error")
        if isinstance(reason, str) and (reason or part == "message"):
            self.finished = True
            self._reason = reason
        message = choice.get(part)
        if isinstance(message, dict):
            self._answered = True
            self._message(message, pieces)
        elif reason == "content_filter":
            raise self._failed("content_filter")

    def _message(self, message: dict[str, JsonValue], pieces: list[Piece]) -> None:
        thought, text = _texts(message.get("content"))
        for name in ("reasoning_content", "reasoning"):
            if isinstance(more := message.get(name), str) and more:
                thought += more
                break
        if thought:
            self._write("thinking", thought, pieces)
        if isinstance(refusal := message.get("refusal"), str):
            text += refusal
        if text:
            self._write("text", text, pieces)
        if isinstance(calls := message.get("tool_calls"), list):
            for place, call in enumerate(calls):
                if isinstance(call, dict):
                    self._call(call, place, pieces)

    def _write(self, kind: Literal["text", "thinking"], text: str, pieces: list[Piece]) -> None:
        block = self._words.get(kind) or self._words.setdefault(kind, self._open(kind))
        _add(block, text, pieces)

    def _call(self, call: dict[str, JsonValue], place: int, pieces: list[Piece]) -> None:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        index = call.get("index")
        index = index if isinstance(index, int) else place
        id, name = _text(call.get("id")), _text(function.get("name"))
        block = self._calls.get(index)
        if block is None or (name and id and id != block.id):
            block = self._calls[index] = self._open("tool_use")
            block.id, block.name = id or f"call_{new_id()[:24]}", name
            pieces.append(Piece("tool_use", block.number, call_id=block.id, tool=block.name))
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = to_json(arguments).decode()
        if isinstance(arguments, str) and arguments:
            _add(block, arguments, pieces)

    def _open(self, kind: Literal["text", "thinking", "tool_use"]) -> _Block:
        block = _Block(kind, len(self._blocks))
        self._blocks.append(block)
        return block

    def _failed(self, name: FaultName) -> Failed:
        return Failed(name, provider=self._provider, key=self._key)


def _add(block: _Block, text: str, pieces: list[Piece]) -> None:
    block.parts.append(text)
    last = pieces[-1] if pieces else None
    if last is not None and last.block == block.number:
        pieces[-1] = Piece(last.kind, last.block, last.text + text, last.call_id, last.tool)
    else:
        pieces.append(Piece(block.kind, block.number, text))


def _closed(block: _Block, provider: str) -> ContentBlock:
    text = "".join(block.parts)
    if block.kind == "text":
        return TextBlock(text=text)
    if block.kind == "thinking":
        return ThinkingBlock(thinking=text, provider=provider)
    return ToolUseBlock(id=block.id, name=block.name, input=arguments_of(text), raw_input=text)


def arguments_of(text: str) -> dict[str, JsonValue]:
    """Return a call's arguments; no text at all means none, and what is not a JSON object is left empty."""
    try:
        value: JsonValue = from_json(text) if text.strip() else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_json(data: bytes) -> bool:
    """Return whether `data` is a JSON text, whole."""
    try:
        from_json(data)
    except ValueError:
        return False
    return True


def usage_of(value: dict[str, JsonValue]) -> Usage:
    """Return the tokens that a `usage` object counts; cached and reasoning tokens are included in input and output."""
    prompt, completion = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    prompt = prompt if isinstance(prompt, dict) else {}
    completion = completion if isinstance(completion, dict) else {}
    return Usage(
        input_tokens=_count(value.get("prompt_tokens")),
        output_tokens=_count(value.get("completion_tokens")),
        cache_read_tokens=_count(prompt.get("cached_tokens") or value.get("prompt_cache_hit_tokens")),
        cache_write_tokens=_count(prompt.get("cache_write_tokens")),
        reasoning_tokens=_count(completion.get("reasoning_tokens")),
    )


def _count(value: JsonValue) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def _texts(content: JsonValue) -> tuple[str, str]:
    """Return thinking and text of a `content`, which is a string or, at some providers, a list of parts."""
    if isinstance(content, str):
        return "", content
    thought, text = "", ""
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            thought += _texts(inner)[1] if isinstance(inner, list) else _text(inner)
        else:
            text += _text(part.get("text"))
    return thought, text

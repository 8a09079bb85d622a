"""Reads answers of the messages API, whole or as a stream, and proves that they have ended.

A stream has ended with `message_stop` after a stop reason, a whole answer has one. Total over whatever a provider may
send: an answer of the wrong shape is a fault, never an exception of another kind. Events and deltas of kinds that are
not known are passed over, as the API's rules for versions ask for; blocks of server tools are kept whole as unknown
blocks, so that they can be replayed.
Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from codecs import BOM_UTF8
from collections.abc import Iterable

from pydantic import JsonValue
from pydantic_core import from_json

from natscope.contracts.blocks import ContentBlock, ThinkingBlock, ToolUseBlock
from natscope.contracts.model import FinishReason, Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.http_faults import error_in, told
from services.model_gateway.wires.messages_blocks import Block, Json, closed, in_it, text_in, unwrapped
from services.model_gateway.wires.messages_output import AnswerTool

DONE = b"[DONE]"
"""Not of this API; some proxies end every stream with it. It proves nothing."""
PAUSED = "pause_turn"
"""The turn is not at its end: sent back as it is, the model goes on with it.
Source: https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons"""
_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    PAUSED: "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
}
_WORDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


class Draft:
    """A message that is being written, event by event. One `Draft` reads one answer."""

    def __init__(
        self, provider: str, model: str, *, answer: AnswerTool | None = None, key: str | None = None, secret: str = ""
    ) -> None:
        """`answer` is the tool that stands for the answer's text, if the request forced one."""
        self.finished = False
        """True once the end is proven; nothing more is to come."""
        self._provider = provider
        self._key = key
        self._secret = secret
        self._answer = answer
        self._model = model
        self._id: str | None = None
        self._began = False
        self._stopped = False
        self._reason: str | None = None
        self._refusal = ""
        self.container = ""
        """The id of the machine that the provider's tools worked on; it goes back with the turn."""
        self._spent = Usage()
        """By the answers before this one."""
        self._counts: dict[str, int] = {}
        self._open: dict[JsonValue, Block] = {}
        self._blocks: list[Block] = []

    def take(self, events: Iterable[bytes]) -> list[Piece]:
        """Read some events of a stream; what follows itself in the same block is one piece."""
        pieces: list[Piece] = []
        for data in events:
            if data.strip() and data != DONE and not self._stopped:
                self._event(self._parsed(data), pieces)
        return pieces

    def whole(self, body: bytes) -> list[Piece]:
        """Read an answer in one piece."""
        if not body.strip():
            raise self._failed("empty")
        pieces: list[Piece] = []
        value = self._parsed(body.removeprefix(BOM_UTF8))
        self._head(value)
        content = value.get("content")
        if not isinstance(content, list):
            raise self._failed("no_answer")
        for place, block in enumerate(content):
            self._begin({"index": place, "content_block": block}, pieces)
            self._end_block({"index": place}, pieces)
        self._stop(value)
        self._stopped = True
        self.finished = self._reason is not None
        return pieces

    @property
    def paused(self) -> bool:
        """Whether the model would go on with this turn, and waits for nothing of ours."""
        return self.finished and self._reason == PAUSED and not any(b.kind == "tool_use" for b in self._blocks)

    @property
    def output_tokens(self) -> int:
        """How many tokens were written so far."""
        return self._usage().output_tokens

    def said(self) -> list[ContentBlock]:
        """Return what there is of the turn."""
        return [closed(block, self._provider) for block in self._blocks]

    def go_on(self) -> None:
        """Read one more answer as the rest of the same turn."""
        self._spent, self._counts = self._usage(), {}
        self._open = {}
        self._reason = None
        self._stopped = self.finished = False

    def end(self) -> Reply:
        """Return the answer, for there will be no more.

        Raises:
            Failed: its end was never said, or nothing was.
        """
        if not self._began:
            raise self._failed("empty")
        if not self.finished:
            raise self._failed("truncated" if self._blocks or not self._stopped else "no_answer")
        content = self.said()
        reason = _REASONS.get(self._reason or "", "stop")
        if reason == "content_filter" and all(isinstance(block, ThinkingBlock) for block in content):
            raise told(
                self._provider, {"code": "refusal", "message": self._refusal}, key=self._key, secret=self._secret
            )
        if reason == "tool_call" and not content:
            raise self._failed("no_answer")
        calls = any(isinstance(block, ToolUseBlock) for block in content)
        if reason in ("stop", "tool_call") or (calls and self._reason == PAUSED):
            reason = "tool_call" if calls else "stop"
        return Reply(content, reason, self._usage(), self._model, self._id, metadata=self._metadata())

    def _parsed(self, data: bytes) -> Json:
        try:
            value: JsonValue = from_json(data)
        except ValueError:
            raise self._failed("not_json") from None
        if not isinstance(value, dict):
            raise self._failed("not_json")
        if value.get("type") == "error" or value.get("error") or ("type" not in value and error_in(value)):
            raise told(self._provider, error_in(value) or {}, key=self._key, secret=self._secret)
        return value

    def _event(self, event: Json, pieces: list[Piece]) -> None:
        match event.get("type"):
            case "message_start":
                self._head(in_it(event.get("message")))
            case "content_block_start":
                self._begin(event, pieces)
            case "content_block_delta":
                self._more(event, pieces)
            case "content_block_stop":
                self._end_block(event, pieces)
            case "message_delta":
                self._stop(in_it(event.get("delta")))
                self._count(event.get("usage"))
            case "message_stop":
                for block in self._open.values():
                    self._complete(block, pieces)
                self._stopped = self._began = True
                self.finished = self._reason is not None
            case _:
                pass

    def _head(self, message: Json) -> None:
        self._began = True
        self._id = text_in(message.get("id")) or self._id
        self._model = text_in(message.get("model")) or self._model
        self.container = text_in(in_it(message.get("container")).get("id")) or self.container
        self._count(message.get("usage"))

    def _stop(self, said: Json) -> None:
        self._reason = text_in(said.get("stop_reason")) or self._reason
        self.container = text_in(in_it(said.get("container")).get("id")) or self.container
        self._refusal = text_in(in_it(said.get("stop_details")).get("explanation")) or self._refusal

    def _count(self, usage: JsonValue) -> None:
        """Counts are totals: a later one replaces an earlier, one that is left out replaces nothing."""
        usage = in_it(usage)
        details = in_it(usage.get("output_tokens_details"))
        counts = {**usage, "thinking_tokens": details.get("thinking_tokens")}
        self._counts.update({name: n for name, n in counts.items() if isinstance(n, int) and not isinstance(n, bool)})

    def _begin(self, event: Json, pieces: list[Piece]) -> Block:
        self._began = True
        block = Block.begin(in_it(event.get("content_block")), self._answer)
        self._open[_index(event)] = block
        if block.kind == "tool_use":
            self._place(block)
            pieces.append(Piece("tool_use", block.number, call_id=block.id, tool=block.name))
        elif block.opaque:
            self._place(block)
            self._model = block.heir or self._model
        self._add(block, block.said_at_once, pieces)
        return block

    def _more(self, event: Json, pieces: list[Piece]) -> None:
        delta = in_it(event.get("delta"))
        kind = text_in(delta.get("type"))
        block = self._open.get(_index(event))
        if block is None:
            if kind == "input_json_delta":
                raise self._failed("no_answer")
            begun: Json = {"type": kind.removesuffix("_delta")}
            block = self._begin({"index": _index(event), "content_block": begun}, pieces)
        if block.kind == "other" and kind != "input_json_delta":
            block.begun = {**block.begun, **{name: value for name, value in delta.items() if name != "type"}}
        elif kind in _WORDS:
            self._add(block, text_in(delta.get(_WORDS[kind])), pieces)
        elif kind == "signature_delta" and block.kind == "thinking":
            block.signature = text_in(delta.get("signature")) or block.signature
            self._place(block)
        elif kind == "citations_delta":
            block.quoted.append(delta.get("citation"))

    def _end_block(self, event: Json, pieces: list[Piece]) -> None:
        block = self._open.pop(_index(event), None)
        if block is not None:
            self._complete(block, pieces)

    def _complete(self, block: Block, pieces: list[Piece]) -> None:
        """Arguments may have come with the beginning, and a wrapped answer is heard when it is whole."""
        if not block.parts:
            self._add(block, block.given_at_once, pieces)
        if block.wrapped:
            text, block.wrapped, block.parts = unwrapped("".join(block.parts)), False, []
            self._add(block, text, pieces)

    def _add(self, block: Block, text: str, pieces: list[Piece]) -> None:
        if text:
            block.parts.append(text)
        if not text or block.wrapped or block.kind == "other":
            return
        self._place(block)
        last = pieces[-1] if pieces else None
        if last is not None and last.block == block.number:
            pieces[-1] = Piece(last.kind, last.block, last.text + text, last.call_id, last.tool)
        else:
            pieces.append(Piece(block.kind, block.number, text))

    def _place(self, block: Block) -> None:
        if block.number < 0:
            block.number = len(self._blocks)
            self._blocks.append(block)

    def _metadata(self) -> Json:
        """Return the citations, each with the place of its text in the message."""
        quoted = ((block.number, each) for block in self._blocks for each in block.quoted if isinstance(each, dict))
        notes: list[JsonValue] = [{**each, "block": number} for number, each in quoted]
        return {"annotations": notes} if notes else {}

    def _usage(self) -> Usage:
        read, written = (self._counts.get(f"cache_{name}_input_tokens", 0) for name in ("read", "creation"))
        return self._spent + Usage(
            input_tokens=self._counts.get("input_tokens", 0) + read + written,
            output_tokens=self._counts.get("output_tokens", 0),
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=self._counts.get("thinking_tokens", 0),
        )

    def _failed(self, name: FaultName) -> Failed:
        return Failed(name, provider=self._provider, key=self._key)


def _index(event: Json) -> JsonValue:
    index = event.get("index")
    return index if isinstance(index, int | str) else 0

"""Reads answers of the responses API, whole or as a stream, and proves that they have ended.

Total over whatever a provider may send: an answer of the wrong shape is a fault, never an exception of another kind.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pydantic import JsonValue
from pydantic_core import from_json

from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock, UnknownBlock
from natscope.contracts.contract import new_id
from natscope.contracts.model import FinishReason, Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.asides import kept
from services.model_gateway.wires.http_faults import error_in, told
from services.model_gateway.wires.json_text import arguments_of
from services.model_gateway.wires.responses_items import (
    ASIDES,
    CALL,
    ID,
    PHASES,
    TOLD,
    Json,
    Kind,
    Part,
    Spot,
    call_of,
    parts_of,
    text_in,
    usage_of,
)
from services.model_gateway.wires.strict import unwrapped

DONE = b"[DONE]"
PENDING = ("queued", "in_progress")
_ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
    "response.done": "",
}
"""Events that end a stream, and the status that each stands for; `response.done` leaves it to its response."""
_DELTAS: dict[str, tuple[Kind, str, str]] = {
    "response.output_text.delta": ("text", "content", "content_index"),
    "response.refusal.delta": ("text", "content", "content_index"),
    "response.reasoning_summary_text.delta": ("thinking", "summary", "summary_index"),
    "response.reasoning_text.delta": ("thinking", "content", "content_index"),
    "response.function_call_arguments.delta": ("tool_use", *CALL[:1], ""),
}
"""Of each delta: what it is a piece of, and which part of its item."""


@dataclass(slots=True)
class _Block:
    kind: Kind
    number: int
    """Its place in the message."""
    part: Part
    """What is said of it apart from its text."""
    texts: list[str] = field(default_factory=list[str])


class Draft:
    """A message that is being written, event by event. One `Draft` reads one answer."""

    def __init__(
        self, provider: str, model: str, *, key: str | None = None, secret: str = "", wrapped: bool = False
    ) -> None:
        """`wrapped`: the answer's text is an object around what was asked for; see `strict.lowered`."""
        self.finished = False
        """True once the end is proven; nothing is read after it."""
        self.pending: str | None = None
        """The id of a response that is not written yet: ask for it again."""
        self._provider = provider
        self._key = key
        self._secret = secret
        self._wrapped = wrapped
        self._model = model
        self._id: str | None = None
        self._reason: FinishReason = "stop"
        self._usage = Usage()
        self._blocks: dict[tuple[int, Spot], _Block] = {}
        self._early: dict[int, list[str]] = {}
        """Arguments of calls that are not known yet, by the place of their item."""
        self._places: dict[str, int] = {}
        """Of items, by their ids."""
        self._settled: set[int] = set()
        """Places of items that are whole."""
        self._begun = False
        self._answered = False

    def take(self, events: Iterable[bytes]) -> list[Piece]:
        """Read some events of a stream; what follows itself in the same block is one piece."""
        pieces: list[Piece] = []
        for data in events:
            if data and data != DONE and not self.finished:
                self._event(self._parsed(data), pieces)
        return pieces

    def whole(self, body: bytes) -> list[Piece]:
        """Read an answer in one piece. If it is only promised, `pending` says so; read what comes of it next."""
        if not body.strip():
            raise self._failed("empty")
        value = self._parsed(body.removeprefix(BOM_UTF8))
        status = text_in(value.get("status"))
        self._head(value)
        self.pending = self._id if status in PENDING else None
        pieces: list[Piece] = []
        if status in ("failed", "cancelled"):
            self._end(status, value, pieces)
        elif value.get("error"):
            raise self._told(error_in(value) or {})
        elif status in PENDING:
            if self.pending is None:
                raise self._failed("no_answer")
        elif isinstance(value.get("output"), list):
            self._end(status, value, pieces)
        else:
            error = error_in(value)
            raise self._failed("no_answer") if error is None else self._told(error)
        return pieces

    def end(self) -> Reply:
        """Return the answer, for there will be no more.

        Raises:
            Failed: its end was never said, or nothing was.
        """
        if not self.finished:
            raise self._failed("truncated" if self._begun else "empty")
        content = [self._closed(block) for block in self._blocks.values()]
        if not self._answered and self._reason == "stop":
            raise self._failed("no_answer")
        if self._reason == "content_filter" and not any(_says(block) for block in content):
            raise self._failed("content_filter")
        reason = self._reason
        if reason == "stop" and any(isinstance(block, ToolUseBlock) for block in content):
            reason = "tool_call"
        return Reply(content, reason, self._usage, self._model, self._id, self._metadata())

    def _metadata(self) -> Json:
        parts = [block.part for block in self._blocks.values() if block.kind == "text"]
        found: Json = {
            PHASES: list[JsonValue](part.phase for part in parts),
            "annotations": [note for part in parts for note in part.notes],
            "refusal": "".join("".join(b.texts) for b in self._blocks.values() if b.part.refusal),
        }
        if not any(part.phase for part in parts):
            found[PHASES] = None
        return {name: value for name, value in found.items() if value}

    def _parsed(self, data: bytes) -> Json:
        try:
            value: JsonValue = from_json(data)
        except ValueError:
            raise self._failed("not_json") from None
        if not isinstance(value, dict):
            raise self._failed("not_json")
        self._begun = True
        return value

    def _event(self, value: Json, pieces: list[Piece]) -> None:
        kind = text_in(value.get("type"))
        if kind in _DELTAS:
            self._delta(kind, value, pieces)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            if isinstance(item := value.get("item"), dict):
                self._item(self._place(value, item), item, pieces, whole=kind.endswith("done"))
        elif kind in _ENDS:
            response = value.get("response")
            response = response if isinstance(response, dict) else {}
            self._head(response)
            self._end(_ENDS[kind] or text_in(response.get("status")), response, pieces)
        elif kind in ("error", "response.error") or (value.get("error") and not kind):
            raise self._told(error_in({"error": value.get("error")}) or value)
        elif isinstance(response := value.get("response"), dict):
            self._head(response)

    def _head(self, response: Json) -> None:
        self._id = text_in(response.get("id")) or self._id
        self._model = text_in(response.get("model")) or self._model
        if isinstance(usage := response.get("usage"), dict):
            self._usage = usage_of(usage)

    def _end(self, status: str, response: Json, pieces: list[Piece]) -> None:
        if status == "failed":
            raise self._told(error_in({"error": response.get("error")}) or {})
        if status == "cancelled" or status in PENDING:
            raise self._failed("truncated")
        details = response.get("incomplete_details")
        why = details.get("reason") if isinstance(details, dict) else None
        if status == "incomplete" or why:
            self._reason = "content_filter" if why == "content_filter" else "length"
        output = response.get("output")
        for place, item in enumerate(output if isinstance(output, list) else ()):
            if isinstance(item, dict):
                known = self._places.get(text_in(item.get("id")), place)
                if known not in self._settled:
                    self._item(known, item, pieces, whole=True)
        self.finished = True

    def _place(self, value: Json, item: Json) -> int:
        place = value.get("output_index")
        if not isinstance(place, int):
            place = self._places.get(text_in(item.get("id")), len(self._places))
        if id := text_in(item.get("id")):
            self._places[id] = place
        return place

    def _item(self, place: int, item: Json, pieces: list[Piece], *, whole: bool) -> None:
        self._answered = True
        if whole:
            self._settled.add(place)
            for part in parts_of(item, self._provider):
                self._settle(place, part, pieces)
        elif item.get("type") == "function_call" and (call := call_of(item)).call_id and call.tool:
            self._open(place, call, pieces)

    def _delta(self, kind: str, value: Json, pieces: list[Piece]) -> None:
        block_kind, name, index = _DELTAS[kind]
        text, id = text_in(value.get("delta")), text_in(value.get("item_id"))
        where, number = value.get("output_index"), value.get(index)
        place = where if isinstance(where, int) else self._places.get(id, 0)
        spot = (name, number if isinstance(number, int) else 0)
        if not text:
            return
        self._answered = True
        block = self._blocks.get((place, spot))
        if block is None and block_kind == "tool_use":
            self._early.setdefault(place, []).append(text)
            return
        if block is None:
            block = self._open(place, Part(block_kind, spot, id=id), pieces)
        _add(block, text, pieces)

    def _settle(self, place: int, part: Part, pieces: list[Piece]) -> None:
        """Take a whole part for what it is; what its deltas left out is told now."""
        if part.kind == "tool_use" and not part.call_id:
            part = replace(part, call_id=f"call_{new_id()[:24]}")
        block = self._open(place, part, pieces)
        block.part = part
        if part.whole is not None:
            return
        said = "".join(block.texts)
        text = part.text or said or "".join(self._early.get(place, ()))
        if not text.startswith(said):
            block.texts = [text]
        elif more := text[len(said) :]:
            _add(block, more, pieces)

    def _open(self, place: int, part: Part, pieces: list[Piece]) -> _Block:
        if (found := self._blocks.get((place, part.spot))) is not None:
            return found
        block = self._blocks[place, part.spot] = _Block(part.kind, len(self._blocks), part)
        if part.kind == "tool_use":
            pieces.append(Piece("tool_use", block.number, call_id=part.call_id, tool=part.tool))
        return block

    def _closed(self, block: _Block) -> ContentBlock:
        text, part = "".join(block.texts), block.part
        if part.whole is not None:
            return part.whole
        match block.kind:
            case "text":
                return TextBlock(text=unwrapped(text) if self._wrapped else text)
            case "thinking":
                where: Json = {ID: part.id, TOLD: part.spot[0]} if part.id else {}
                return ThinkingBlock(thinking=text, provider=self._provider, redacted=part.sealed, metadata=where)
            case _:
                aside = kept(part.aside or {}, ASIDES, self._provider)
                arguments = arguments_of(text)
                return ToolUseBlock(id=part.call_id, name=part.tool, input=arguments, raw_input=text, metadata=aside)

    def _failed(self, name: FaultName) -> Failed:
        return Failed(name, provider=self._provider, key=self._key)

    def _told(self, error: Json) -> Failed:
        return told(self._provider, error, key=self._key, secret=self._secret)


def _add(block: _Block, text: str, pieces: list[Piece]) -> None:
    block.texts.append(text)
    last = pieces[-1] if pieces else None
    if last is not None and last.block == block.number:
        pieces[-1] = Piece(last.kind, last.block, last.text + text, last.call_id, last.tool)
    elif block.kind != "whole":
        pieces.append(Piece(block.kind, block.number, text))


def _says(block: ContentBlock) -> bool:
    return not isinstance(block, ThinkingBlock | UnknownBlock)

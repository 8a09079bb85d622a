"""The blocks of a chat completions answer while they are being written."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.blocks import ContentBlock, ImageBlock, TextBlock, ThinkingBlock, ToolUseBlock
from natscope.contracts.contract import new_id
from services.model_gateway.ports import Piece
from services.model_gateway.wires.chat_media import sound_in
from services.model_gateway.wires.chat_thoughts import DETAIL, ON_MESSAGE, TEXTS
from services.model_gateway.wires.dialects import Json
from services.model_gateway.wires.json_text import arguments_of, is_json

Kind = Literal["text", "thinking", "tool_use"]


@dataclass(slots=True)
class _Block:
    kind: Kind
    number: int | None = None
    """Its place in the message, once its first piece has gone out; before, what comes is held."""
    parts: list[str] = field(default_factory=list[str])
    id: str = ""
    """The provider's; empty if it says none."""
    call_id: str = ""
    """The one that is told; no two calls have the same, whatever the provider says."""
    name: str = ""
    signature: str | None = None
    redacted: str | None = None
    metadata: Json = field(default_factory=dict[str, JsonValue])

    @property
    def text(self) -> str:
        return "".join(self.parts)


class Blocks:
    """What has come of one answer, and the pieces that nobody was told of yet."""

    def __init__(self, provider: str, *, answer_tool: str | None = None) -> None:
        """A call of `answer_tool` is no call, its arguments are the text."""
        self.pieces: list[Piece] = []
        self._provider = provider
        self._answer_tool = answer_tool
        self._blocks: list[_Block] = []
        """By their numbers."""
        self._unnamed: list[_Block] = []
        """Calls of which nobody knows yet what they call."""
        self._words: dict[Hashable, _Block] = {}
        self._calls: dict[Hashable, _Block] = {}
        self._last: Hashable = None
        self._sound: list[str] = []
        self._pictures: list[ImageBlock] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come."""
        return not (self._blocks or self._unnamed or self._sound or self._pictures)

    @property
    def has_calls(self) -> bool:
        """Whether a tool is called."""
        return any(block.kind == "tool_use" for block in self._all())

    def write(self, kind: Literal["text", "thinking"], text: str) -> None:
        """Add to the text, or to the thought."""
        block = self._words.get(kind)
        if block is None:
            block = self._words[kind] = self._open(kind)
        self._add(block, text)

    def sign(self, signature: str) -> None:
        """Add to what the thought is signed with."""
        block = self._words.get("thinking")
        if block is None:
            block = self._words["thinking"] = self._open("thinking")
        block.signature = (block.signature or "") + signature

    def detail(self, value: Json, place: int) -> None:
        """Add an item of `reasoning_details`: text, a summary, or an encrypted part, told apart by index."""
        index, kind = value.get("index"), str(value.get("type") or "reasoning.text")
        key = (kind, index if isinstance(index, int) else place)
        block = self._words.get(key)
        if block is None:
            block = self._words[key] = self._open("thinking")
        text = value.get(TEXTS.get(kind, "text"))
        data, signature = value.get("data"), value.get("signature")
        if isinstance(text, str) and text:
            self._add(block, text)
        if isinstance(data, str) and data:
            block.redacted = (block.redacted or "") + data
        if isinstance(signature, str) and signature:
            block.signature = (block.signature or "") + signature
        kept = block.metadata.setdefault(DETAIL, {})
        if isinstance(kept, dict):
            kept.update({k: v for k, v in value.items() if k not in _SAID_ELSEWHERE and v is not None})

    def hang(self, signature: str, where: str, value: Json) -> None:
        """Keep a signature that hangs on the message, or on the call that comes next."""
        block = self._words.get(where) or self._open("thinking")
        if where == ON_MESSAGE:
            self._words[where] = block
        block.signature, block.metadata = signature, {where: value}

    def call(self, key: Hashable, id: str, name: str, arguments: str) -> None:
        """Add to a call. A stream tells calls apart by index; some say the name later, some give all the index 0."""
        if key is None:
            key = id or (f"#{len(self._calls)}" if name or self._last is None else self._last)
        block = self._calls.get(key)
        if block is None or _begins(block, id, name, arguments):
            block = self._calls[key] = _Block("tool_use")
            self._unnamed.append(block)
        self._last = key
        block.id = block.id or id
        if name and block.number is None:
            self._tell(block, name)
        if arguments:
            self._add(block, arguments)

    def sound(self, data: str) -> None:
        """Add to the sound, in base64."""
        self._sound.append(data)

    def picture(self, block: ImageBlock) -> None:
        """Add a picture."""
        self._pictures.append(block)

    def closed(self) -> list[ContentBlock]:
        """Return the blocks, for there will be no more."""
        content = [self._closed(block) for block in self._all()]
        sound = sound_in("".join(self._sound)) if self._sound else None
        return [*content, *self._pictures, *([sound] if sound else [])]

    def _all(self) -> list[_Block]:
        return [*self._blocks, *(block for block in self._unnamed if block.number is None and block.parts)]

    def _open(self, kind: Kind) -> _Block:
        return self._numbered(_Block(kind))

    def _numbered(self, block: _Block) -> _Block:
        block.number = len(self._blocks)
        self._blocks.append(block)
        return block

    def _tell(self, block: _Block, name: str) -> None:
        """Say what is called, and the arguments that were held."""
        block.name = name
        number = len(self._blocks)
        self._numbered(block)
        if name != self._answer_tool:
            taken = any(each.call_id == block.id for each in self._blocks)
            block.call_id = f"call_{new_id()[:24]}" if taken or not block.id else block.id
            self.pieces.append(Piece("tool_use", number, block.text, call_id=block.call_id, tool=name))
            return
        block.kind = "text"
        if block.parts:
            self.pieces.append(Piece("text", number, block.text))

    def _add(self, block: _Block, text: str) -> None:
        block.parts.append(text)
        if block.number is None:
            return
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last.block == block.number:
            self.pieces[-1] = Piece(last.kind, last.block, last.text + text, last.call_id, last.tool)
        else:
            self.pieces.append(Piece(block.kind, block.number, text))

    def _closed(self, block: _Block) -> ContentBlock:
        text = block.text
        if block.kind == "text":
            return TextBlock(text=text)
        if block.kind == "thinking":
            return ThinkingBlock(
                thinking=text,
                provider=self._provider,
                signature=block.signature,
                redacted=block.redacted,
                metadata=block.metadata,
            )
        id = block.call_id or block.id or f"call_{new_id()[:24]}"
        return ToolUseBlock(id=id, name=block.name, input=arguments_of(text), raw_input=text)


_SAID_ELSEWHERE = frozenset({*TEXTS.values(), "data", "signature"})


def _begins(block: _Block, id: str, name: str, arguments: str) -> bool:
    """Return whether a delta begins another call though it has the key of `block`."""
    if not name or not block.name:
        return False
    if id and block.id:
        return id != block.id
    return bool(arguments) and is_json(block.text)


@dataclass(frozen=True, slots=True)
class Called:
    """An item of `tool_calls`."""

    item: Json
    index: int | None
    id: str
    name: str
    arguments: str


def tool_calls(value: JsonValue) -> Iterator[Called]:
    """Yield each item of `tool_calls`."""
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            index, own, custom = item.get("index"), item.get("function"), item.get("custom")
            is_custom = isinstance(custom, dict) and custom.get("name")
            name, text = named(custom if is_custom else own)
            yield Called(item, index if isinstance(index, int) else None, _text(item.get("id")), name, text)


def named(called: JsonValue) -> tuple[str, str]:
    """Return name and arguments of a `function`; some endpoints write the arguments as an object."""
    if not isinstance(called, dict):
        return "", ""
    arguments = called.get("arguments", called.get("input"))
    if arguments is not None and not isinstance(arguments, str):
        arguments = to_json(arguments).decode()
    return _text(called.get("name")), arguments or ""


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""

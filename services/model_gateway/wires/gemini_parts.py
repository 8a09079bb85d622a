"""Makes content blocks of the parts of Gemini's answers, as they come."""

import base64
import binascii
import hashlib
import mimetypes
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    Source,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    URLSource,
    VideoBlock,
)
from services.model_gateway.ports import Piece
from services.model_gateway.trying.faults import FaultName
from services.model_gateway.wires.gemini import Forced
from services.model_gateway.wires.gemini_growing import Growing
from services.model_gateway.wires.gemini_turns import HUNG_ON, KEPT
from services.model_gateway.wires.json_text import arguments_of

Json = dict[str, JsonValue]
Kind = Literal["text", "thinking", "tool_use", "mark", "media", "whole"]

_ASIDE = frozenset({"thought", "thoughtSignature", "thought_signature", "text", "partMetadata", "videoMetadata"})
_RAW_SOUND = ("audio/l16", "audio/pcm")


@dataclass(slots=True)
class _Block:
    kind: Kind
    number: int
    """Its place in the message."""
    texts: list[str] = field(default_factory=list[str])
    signature: str | None = None
    hung_on: str = ""
    id: str = ""
    name: str = ""
    data: bytes = b""
    media_type: str = ""
    whole: ContentBlock | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    id: JsonValue
    growing: Growing | None


class Parts:
    """The blocks of one answer.

    A signature that hangs on something else than a thought is a block of its own, `mark`, before what it hangs on. If
    it comes when the text that it hangs on has begun, it stands behind: a text is never split by it.
    """

    def __init__(self, provider: str, forced: Forced | None) -> None:
        self.has_calls = False
        self._provider = provider
        self._forced = forced
        self._blocks: list[_Block] = []
        self._calls = 0
        self._called: _Call | None = None

    def take(self, part: Json, response: str | None, pieces: list[Piece]) -> FaultName | None:
        """Read a part of the answer `response`; return what is wrong with it, if anything is."""
        found = part.get("thoughtSignature") or part.get("thought_signature")
        signature = found if isinstance(found, str) else None
        if isinstance(call := part.get("functionCall"), dict):
            return self._call(call, response, signature, pieces)
        if isinstance(media := part.get("inlineData") or part.get("fileData"), dict):
            if part.get("thought") is True:
                return None
            self._mark(signature)
            return self._media(media)
        if "text" not in part and part.keys() - _ASIDE:
            # It goes back as it came, signature and all.
            kept = UnknownBlock.model_validate({"type": KEPT, "provider": self._provider, "part": part})
            self._open("whole").whole = kept
        else:
            text = part.get("text")
            text = text if isinstance(text, str) else ""
            write = self._thought if part.get("thought") is True else self._text
            write(text, signature, pieces)
        return None

    @property
    def is_open(self) -> bool:
        """Whether the arguments of a call are not all there yet."""
        return self._called is not None

    def closed(self) -> list[ContentBlock]:
        """Return the blocks."""
        return [self._closed(block) for block in self._blocks]

    def _thought(self, text: str, signature: str | None, pieces: list[Piece]) -> None:
        if not text and not signature:
            return
        last = self._blocks[-1] if self._blocks else None
        if last is None or last.kind != "thinking" or last.signature:
            last = self._open("thinking")
        last.signature = signature
        last.hung_on = "thought" if signature else ""
        _add(last, text, pieces)

    def _text(self, text: str, signature: str | None, pieces: list[Piece]) -> None:
        block = next((each for each in reversed(self._blocks) if each.kind != "mark"), None)
        if block is not None and block.kind == "text":
            _add(block, text, pieces)
            self._mark(signature, hung_on="nothing")
            return
        self._mark(signature, hung_on="" if text else "nothing")
        if text:
            _add(self._open("text"), text, pieces)

    def _call(self, call: Json, response: str | None, signature: str | None, pieces: list[Piece]) -> FaultName | None:
        name = call.get("name")
        if isinstance(name, str) and name:
            if self.is_open:
                return "malformed_call"
            self._mark(signature)
            self._called = _Call(name, call.get("id"), Growing() if _is_begun(call) else None)
        if self._called is None:
            return "malformed_call"
        growing = self._called.growing
        if growing is None:
            return self._close(call.get("args"), response, pieces)
        if not growing.take(call.get("partialArgs")):
            return "malformed_call"
        return None if call.get("willContinue") else self._close(growing.value, response, pieces)

    def _close(self, arguments: JsonValue, response: str | None, pieces: list[Piece]) -> None:
        called, self._called = self._called, None
        if called is None:
            return
        raw = arguments if isinstance(arguments, str) else _json(arguments)
        if self._forced is not None and called.name == self._forced.name:
            self._text(_json(self._forced.answer(arguments_of(raw))), None, pieces)
            return
        self.has_calls = True
        block = self._open("tool_use")
        block.name = called.name
        block.id = called.id if isinstance(called.id, str) and called.id else self._stable(response, called.name, raw)
        block.texts.append(raw)
        pieces.append(Piece("tool_use", block.number, raw, block.id, block.name))
        self._calls += 1

    def _stable(self, response: str | None, name: str, raw: str) -> str:
        """Return an id for a call without one: always the same in the same answer, in another answer another."""
        text = f"{response}/{self._calls}/{name}/{raw}"
        return f"call_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:24]}"

    def _media(self, media: Json) -> FaultName | None:
        kind = media.get("mimeType") or media.get("mime_type")
        kind = kind if isinstance(kind, str) and kind else "application/octet-stream"
        data, url = media.get("data"), media.get("fileUri") or media.get("file_uri")
        if isinstance(url, str) and data is None:
            self._open("whole").whole = _medium(kind, URLSource(url=url, media_type=kind))
            return None
        found = decoded(data)
        if found is None:
            return "not_json"
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last.media_type == kind and kind.lower().startswith(_RAW_SOUND):
            last.data += found
        else:
            last = self._open("media")
            last.data, last.media_type = found, kind
        return None

    def _mark(self, signature: str | None, *, hung_on: str = "") -> None:
        if signature:
            mark = self._open("mark")
            mark.signature, mark.hung_on = signature, hung_on

    def _open(self, kind: Kind) -> _Block:
        block = _Block(kind, len(self._blocks))
        self._blocks.append(block)
        return block

    def _closed(self, block: _Block) -> ContentBlock:
        if block.whole is not None:
            return block.whole
        if block.kind == "media":
            data = base64.b64encode(block.data).decode()
            return _medium(block.media_type, Base64Source(data=data, media_type=block.media_type))
        text = "".join(block.texts)
        if block.kind == "text":
            return TextBlock(text=text)
        if block.kind == "tool_use":
            return ToolUseBlock(id=block.id, name=block.name, input=arguments_of(text), raw_input=text)
        place: Json = {HUNG_ON: block.hung_on} if block.hung_on and not text else {}
        return ThinkingBlock(thinking=text, provider=self._provider, signature=block.signature, metadata=place)


def _add(block: _Block, text: str, pieces: list[Piece]) -> None:
    if not text:
        return
    block.texts.append(text)
    last = pieces[-1] if pieces else None
    if last is not None and last.block == block.number:
        pieces[-1] = Piece(last.kind, last.block, last.text + text, last.call_id, last.tool)
    else:
        pieces.append(Piece("thinking" if block.kind == "thinking" else "text", block.number, text))


def _medium(kind: str, source: Source) -> ContentBlock:
    match kind.partition("/")[0].lower():
        case "image":
            return ImageBlock(source=source)
        case "audio":
            return AudioBlock(source=source)
        case "video":
            return VideoBlock(source=source)
        case _:
            return FileBlock(name=f"file{mimetypes.guess_extension(kind) or ''}", source=source)


def decoded(data: JsonValue) -> bytes | None:
    """Return what base64 stands for, in the standard alphabet or the one for addresses, padded or not.

    None if it is none."""
    if not isinstance(data, str) or not data.isascii():
        return None
    text = data.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None


def _is_begun(call: Json) -> bool:
    return bool(call.get("willContinue")) or "partialArgs" in call


def _json(value: JsonValue) -> str:
    return "" if value is None else to_json(value).decode()

"""Reads chat completions answers, whole or as a stream, and proves that they have ended.

Total over whatever a provider may send: an answer of the wrong shape is a fault, never an exception of another kind.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable

from pydantic import JsonValue
from pydantic_core import from_json

from natscope.contracts.blocks import ContentBlock, TextBlock
from natscope.contracts.model import FinishReason, Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.chat_blocks import Blocks, named, tool_calls
from services.model_gateway.wires.chat_media import picture_in
from services.model_gateway.wires.chat_output import NOTHING, Plan
from services.model_gateway.wires.chat_text import only_text, others, signature_in, texts, thought_of
from services.model_gateway.wires.chat_thoughts import ON_CALL, ON_MESSAGE, signatures, tells
from services.model_gateway.wires.chat_usage import billed_in, usage_in
from services.model_gateway.wires.dialects import Json
from services.model_gateway.wires.http_faults import error_in, told
from services.model_gateway.wires.strict import unwrapped
from services.model_gateway.wires.unread import calls_in

DONE = b"[DONE]"
_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "prohibited_content": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
}
_EARLY = re.compile(r"limit|length|max|exceed|truncat|incomplete|time.?out|budget")
"""Reasons that no list names, but that say that more was to come."""
_FAULTS: dict[str, FaultName] = {
    "error": "server_error",
    "network_error": "server_error",
    "insufficient_system_resource": "overloaded",
    "malformed_function_call": "malformed_call",
    "abort": "truncated",
    "aborted": "truncated",
    "cancelled": "truncated",
    "load": "overloaded",
}
"""Reasons with which an answer is none; `load` is Ollama's while it loads the model."""
_BESIDE = ("annotations", "executed_tools", "video_result")
"""What a message says beside its words, piece by piece."""
_SOURCES = ("citations", "search_results", "web_search")
"""What an answer says beside its message; each time it is all there is."""


class Draft:
    """A message that is being written, chunk by chunk. One `Draft` reads one answer."""

    def __init__(
        self, provider: str, model: str, *, key: str | None = None, secret: str = "", planned: Plan = NOTHING
    ) -> None:
        """`planned` is what was asked for; see `chat_output`."""
        self.finished = False
        """True once the end is proven; what may still come is the usage."""
        self.done = False
        """True after `[DONE]`."""
        self._provider = provider
        self._key = key
        self._secret = secret
        self._planned = planned
        self._model = model
        self._id: str | None = None
        self._reason = ""
        self._usage = Usage()
        self._billed_usd: float | None = None
        self._blocks = Blocks(provider, answer_tool=planned.answer_tool)
        self._metadata: Json = {}
        self._choice_index: JsonValue = None
        self._answered = self._seen = False

    def take(self, events: Iterable[bytes]) -> list[Piece]:
        """Read some events of a stream; what follows itself in the same block is one piece."""
        said: list[str] = []
        for data in events:
            if data == DONE or data.strip() == DONE:
                self.done = self.finished = True
            elif data:
                value = self._parsed(data)
                text = only_text(value, self._choice_index) if self._answered else None
                if text is None:
                    self._write(said)
                    self._chunk(value, is_whole=False)
                else:
                    said.append(text)
        self._write(said)
        return self._said()

    def _write(self, said: list[str]) -> None:
        """Write what was gathered, as one piece."""
        if text := "".join(said):
            self._blocks.write("text", text)
        said.clear()

    def whole(self, body: bytes) -> list[Piece]:
        """Read an answer in one piece."""
        if not body.strip():
            raise self._failed("empty")
        self._chunk(self._parsed(body.removeprefix(BOM_UTF8)), is_whole=True)
        return self._said()

    def unread(self, failed: Failed) -> list[Piece]:
        """Read what the model wrote where the provider itself could not.

        Raises:
            Failed: nothing can be made of it, or some of it was told before.
        """
        calls = calls_in(failed.wrote) if failed.wrote and self._blocks.is_empty else []
        if not calls:
            raise failed
        self._answered = self.finished = True
        for place, (name, arguments) in enumerate(calls):
            self._blocks.call(place, "", name, arguments)
        return self._said()

    def end(self) -> Reply:
        """Return the answer, for there will be no more.

        Raises:
            Failed: its end was never said, or nothing was.
        """
        if not self._answered:
            raise self._failed("no_answer" if self._seen or self.finished else "empty")
        if not self.finished:
            raise self._failed("truncated")
        content = self._content()
        reason = _REASONS.get(self._reason) or ("length" if _EARLY.search(self._reason) else "stop")
        if reason == "content_filter" and not content:
            raise self._failed("content_filter")
        if self._blocks.has_calls and reason == "stop":
            reason = "tool_call"
        elif reason == "tool_call" and not self._blocks.has_calls:
            if not content:
                raise self._failed("no_answer")
            reason = "stop"
        return Reply(content, reason, self._usage, self._model, self._id, self._metadata, self._billed_usd)

    def _content(self) -> list[ContentBlock]:
        content = self._blocks.closed()
        if self._planned.wrapped:
            content = [TextBlock(text=unwrapped(b.text)) if isinstance(b, TextBlock) else b for b in content]
        return content

    def _said(self) -> list[Piece]:
        pieces, self._blocks.pieces = self._blocks.pieces, []
        return pieces

    def _parsed(self, data: bytes) -> Json:
        try:
            value: JsonValue = from_json(data)
        except ValueError:
            raise self._failed("not_json") from None
        if isinstance(value, dict) and value.get("choices") and not value.get("error"):
            return value
        if (error := error_in(value)) is not None and (not isinstance(value, dict) or not value.get("choices")):
            raise self._told(error)
        if not isinstance(value, dict):
            raise self._failed("not_json")
        if value.get("error"):
            raise self._told(error_in(value) or {})
        return value

    def _chunk(self, value: Json, *, is_whole: bool) -> None:
        self._seen = True
        if isinstance(found := value.get("id"), str) and found:
            self._id = found
        if isinstance(found := value.get("model"), str) and found:
            self._model = found
        if (usage := usage_in(value)) is not None:
            self._usage = usage
            self._billed_usd = billed_in(value)
        self._metadata.update({name: found for name in _SOURCES if (found := value.get(name))})
        choices = value.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and self._is_ours(choice):
                self._choice(choice, is_whole=is_whole)
                break

    def _is_ours(self, choice: Json) -> bool:
        """Return whether this is the answer that came first, of several."""
        index = choice.get("index") or 0
        if self._choice_index is None:
            self._choice_index = index
        return index == self._choice_index

    def _choice(self, choice: Json, *, is_whole: bool) -> None:
        reason = choice.get("finish_reason")
        reason = reason.lower() if isinstance(reason, str) else ""
        if isinstance(error := choice.get("error"), dict):
            raise self._told(error)
        if reason in _FAULTS:
            raise self._failed(_FAULTS[reason])
        if reason:
            self.finished, self._reason = True, reason
        message = choice.get("message" if is_whole else "delta")
        if not isinstance(message, dict) and not self._answered:
            message = choice.get("delta" if is_whole else "message")
            is_whole = True
        if isinstance(message, dict):
            self._answered = True
            has_more = self._message(message, is_whole=is_whole)
            if is_whole and has_more and choice.get("finish_reason", "") is not None:
                self.finished = True  # some endpoints leave the reason out, or empty
        elif reason and _REASONS.get(reason) == "content_filter":
            raise self._failed("content_filter")

    def _message(self, message: Json, *, is_whole: bool) -> bool:
        """Read a message or a delta, and return whether it holds anything."""
        blocks = self._blocks
        hung = signatures(message, ON_MESSAGE)
        if hung is not None:
            blocks.hang(*hung)
        text = self._words(message)
        found = bool(text or hung)
        for place, call in enumerate(tool_calls(message.get("tool_calls"))):
            if (hung := signatures(call.item, ON_CALL)) is not None:
                blocks.hang(*hung)
            blocks.call(place if is_whole else call.index, call.id, call.name, call.arguments)
            found = found or bool(call.name)
        name, arguments = named(message.get("function_call"))
        if name or arguments:
            blocks.call("function_call", "", name, arguments)
            found = True
        return self._media(message) or found

    def _words(self, message: Json) -> bool:
        thought, text = texts(message.get("content"))
        details = message.get("reasoning_details")
        details = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
        for place, each in enumerate(details):
            self._blocks.detail(each, place)
        if not any(map(tells, details)):
            thought = thought_of(message) + thought
        if thought:
            self._blocks.write("thinking", thought)
        if signature := signature_in(message.get("content")):
            self._blocks.sign(signature)
        if isinstance(refusal := message.get("refusal"), str) and refusal:
            text += refusal
            self._metadata["refusal"] = True
        if text:
            self._blocks.write("text", text)
        self._note(message)
        return bool(thought or text or details)

    def _note(self, message: Json) -> None:
        """Keep what is said beside the words."""
        references: list[JsonValue] = [part for part in others(message.get("content")) if picture_in(part) is None]
        beside = {name: found for name in _BESIDE if isinstance(found := message.get(name), list)}
        for name, found in (*beside.items(), ("annotations", references)):
            kept = self._metadata.setdefault(name, []) if found else None
            if isinstance(kept, list):
                kept.extend(found)

    def _media(self, message: Json) -> bool:
        audio, pictures = message.get("audio"), message.get("images")
        pictures = [*(pictures if isinstance(pictures, list) else ()), *others(message.get("content"))]
        found = False
        if isinstance(audio, dict):
            if isinstance(words := audio.get("transcript"), str) and words:
                self._blocks.write("text", words)
            if isinstance(data := audio.get("data"), str) and data:
                self._blocks.sound(data)
                found = True
        for each in pictures:
            if (block := picture_in(each)) is not None:
                self._blocks.picture(block)
                found = True
        return found

    def _told(self, error: Json) -> Failed:
        return told(self._provider, error, key=self._key, secret=self._secret)

    def _failed(self, name: FaultName) -> Failed:
        return Failed(name, provider=self._provider, key=self._key)

"""Writes a conversation as the messages of a chat completions request."""

import hashlib
import re
from collections.abc import Iterator, Sequence

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from natscope.contracts.blocks import (
    AudioBlock,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    VideoBlock,
)
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from services.model_gateway.wires.chat_media import part
from services.model_gateway.wires.chat_thoughts import DETAIL, ON_CALL, ON_MESSAGE, detail, hung_on, is_detail, is_own
from services.model_gateway.wires.dialects import Dialect, Json
from services.model_gateway.wires.paired import paired

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_HINTS = "system"
"""Who speaks what an agent puts between the turns; the model's turn goes on after it."""
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FITTING = 9
"""Length of a call's id that every dialect takes."""


class Turns:
    """The conversation of one ask in one dialect."""

    def __init__(self, ask: Chat, *, provider: str, dialect: Dialect) -> None:
        self._ask = ask
        self._provider = provider
        self._dialect = dialect
        self._id = re.compile(dialect.call_ids)

    def written(self, instructions: Sequence[str] = ()) -> list[JsonValue]:
        """Return all turns; `instructions` are added to the system prompt."""
        turns = list(self._turns())
        if instructions:
            _instruct(turns, "\n\n".join(instructions))
        return list[JsonValue](turns)

    def _turns(self) -> Iterator[Json]:
        """Yield turn by turn.

        Media in tool results, and pictures that the model made, are shown in a user turn: behind the last result in a
        row, because a tool turn holds text only, or behind the assistant's own.
        """
        shown: list[JsonValue] = []
        messages = paired(self._ask.messages)
        since = max((i for i, each in enumerate(messages) if each.role == "user" and each.name != _HINTS), default=0)
        for place, message in enumerate(messages):
            results = [block for block in message.content if isinstance(block, ToolResultBlock)]
            if shown and not results:
                yield {"role": "user", "content": shown}
                shown = []
            for result in results:
                yield self._result(result)
                shown.extend(self._promoted(result))
            if len(results) < len(message.content) or not results:
                if shown:
                    yield {"role": "user", "content": shown}
                    shown = []
                yield from self._turn(message, is_current=place > since)
                shown.extend(self._drawn(message))
        if shown:
            yield {"role": "user", "content": shown}

    def _result(self, result: ToolResultBlock) -> Json:
        text = _told(result, self._dialect)
        return {"role": "tool", "tool_call_id": self._call_id(result.id), "content": text}

    def _turn(self, message: Message, *, is_current: bool) -> Iterator[Json]:
        if message.role == "assistant":
            turn = self._assistant(message, is_current=is_current)
        else:
            role = "system" if message.role == "system" else "user"
            turn: Json = {"role": role, "content": self._content(message.content)}
        named = self._dialect.name_field and message.role != "system"
        if named and message.name not in (message.role, self._ask.agent) and _NAME.match(message.name):
            turn["name"] = message.name
        if turn["content"] or len(turn) > (3 if "name" in turn else 2):
            yield turn

    def _assistant(self, message: Message, *, is_current: bool) -> Json:
        turn: Json = {"role": "assistant", "content": message.text}
        if calls := list[JsonValue](self._calls(message)):
            turn["tool_calls"] = calls
            turn["content"] = message.text or None
        own = [each for each in message.content if isinstance(each, ThinkingBlock) and is_own(each, self._provider)]
        for block in own:
            turn.update(hung_on(block, ON_MESSAGE))
        field = self._dialect.thinking.field
        if field is not None and own and (is_current or self._dialect.thinking.replay == "all"):
            _remember(turn, field, [block for block in own if is_detail(block)])
        return turn

    def _calls(self, message: Message) -> Iterator[Json]:
        signature: Json = {}
        for block in message.content:
            if isinstance(block, ThinkingBlock) and is_own(block, self._provider):
                signature = hung_on(block, ON_CALL)
            elif isinstance(block, ToolUseBlock):
                yield {**self._call(block), **signature}
                signature = {}

    def _call(self, use: ToolUseBlock) -> Json:
        fits = bool(use.raw_input) and (self._dialect.any_arguments or _says(use.raw_input, use.input))
        arguments = use.raw_input if fits else to_json(use.input).decode()
        return {"id": self._call_id(use.id), "type": "function", "function": {"name": use.name, "arguments": arguments}}

    def _call_id(self, id: str) -> str:
        """Return an id as the endpoint takes it; that of another provider is replaced by one that follows from it."""
        if self._id.match(id):
            return id
        number = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")
        letters = list[str]()
        for _ in range(_FITTING):
            number, rest = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[rest])
        return "".join(letters)

    def _content(self, blocks: list[ContentBlock]) -> JsonValue:
        if len(blocks) == 1 and isinstance(blocks[0], TextBlock):
            return blocks[0].text
        parts = self._parts([block for block in blocks if not isinstance(block, ToolResultBlock)])
        if all(each["type"] == "text" for each in parts):
            return "\n".join(str(each["text"]) for each in parts)
        return list[JsonValue](parts)

    def _parts(self, blocks: Sequence[ContentBlock]) -> list[Json]:
        return [found for block in blocks if (found := part(block, self._ask, self._dialect)) is not None]

    def _drawn(self, message: Message) -> list[JsonValue]:
        if message.role != "assistant":
            return []
        parts = self._parts([block for block in message.content if isinstance(block, ImageBlock)])
        return [{"type": "text", "text": f"[made by {message.name}]"}, *parts] if parts else []

    def _promoted(self, result: ToolResultBlock) -> list[JsonValue]:
        media = [block for block in result.output if _is_promoted(block, self._dialect)]
        parts = self._parts(media)
        return [{"type": "text", "text": f"[returned by {result.name} ({result.id})]"}, *parts] if parts else []


def _is_promoted(block: ContentBlock, dialect: Dialect) -> bool:
    return isinstance(block, ImageBlock | AudioBlock | VideoBlock) and block.type in dialect.takes


def _remember(turn: Json, field: str, own: Sequence[ThinkingBlock]) -> None:
    """Put the model's own thoughts back where it had them."""
    text = "".join(block.thinking for block in own)
    if field == "reasoning_details":
        if own:
            known = [block for block in own if DETAIL in block.metadata]
            turn[field] = [detail(block, place) for place, block in enumerate(known or own)]
    elif text and field == "content":
        thought: Json = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
        if signature := next((block.signature for block in own if block.signature and is_detail(block)), None):
            thought["signature"] = signature
        said = turn["content"]
        turn["content"] = [thought, {"type": "text", "text": said}] if said else [thought]
    elif text:
        turn[field] = text


def _says(raw: str, arguments: Json) -> bool:
    """Return whether a model's own text is the JSON of `arguments`."""
    try:
        return from_json(raw) == arguments
    except ValueError:
        return False


def _told(result: ToolResultBlock, dialect: Dialect) -> str:
    lines = [] if result.state == "success" else [f"[{result.state}]"]
    for block in result.output:
        if isinstance(block, TextBlock):
            lines.append(block.text)
        elif isinstance(block, FileBlock):
            lines.append(f"[file {block.name!r} ({block.source.media_type})]")
        elif isinstance(block, ImageBlock | AudioBlock | VideoBlock):
            where = "see the next message" if _is_promoted(block, dialect) else "this model's interface takes none"
            lines.append(f"[{block.type} ({block.source.media_type}): {where}]")
    return "\n".join(lines)


def _instruct(turns: list[Json], text: str) -> None:
    first = turns[0] if turns else None
    if first is not None and first["role"] == "system" and isinstance(said := first["content"], str):
        turns[0] = {**first, "content": f"{said}\n\n{text}"}
    else:
        turns.insert(0, {"role": "system", "content": text})

"""One content block of a messages answer while it is being written, and the block of ours that it becomes."""

from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock, UnknownBlock
from natscope.contracts.contract import new_id
from services.model_gateway.wires.asides import kept
from services.model_gateway.wires.json_text import arguments_of
from services.model_gateway.wires.messages_output import VALUE, AnswerTool
from services.model_gateway.wires.messages_turns import ASIDES, OWNER

Json = dict[str, JsonValue]
Kind = Literal["text", "thinking", "tool_use", "other"]

_KINDS: dict[str, Kind] = {
    "text": "text",
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "tool_use": "tool_use",
}
_OURS = frozenset({"image", "audio", "video", "file", "tool_result", ""})
"""Kinds that mean something else to us; as a provider's they are passed over."""


@dataclass(slots=True)
class Block:
    """What has come of a block so far."""

    kind: Kind
    begun: Json
    """As the provider began it."""
    id: str = ""
    name: str = ""
    signature: str | None = None
    wrapped: bool = False
    """It is the arguments of the answer tool, which hold the answer."""
    number: int = -1
    """Its place in the message, once there is something in it."""
    parts: list[str] = field(default_factory=list[str])
    quoted: list[JsonValue] = field(default_factory=list[JsonValue])
    """The citations of a text: what of which document or web page it relies on."""

    @classmethod
    def begin(cls, begun: Json, answer: AnswerTool | None) -> Self:
        """Return the block that `begun` begins; a call of the tool `answer` is text."""
        block = cls(_KINDS.get(text_in(begun.get("type")), "other"), begun)
        if block.kind == "tool_use":
            block.name = text_in(begun.get("name"))
            block.id = text_in(begun.get("id")) or f"toolu_{new_id()[:24]}"
            if answer is not None and answer.name == block.name:
                block.kind, block.wrapped = "text", answer.wrapped
        elif block.kind == "thinking":
            block.signature = text_in(begun.get("signature")) or None
        if isinstance(quoted := begun.get("citations"), list):
            block.quoted = list(quoted)
        return block

    @property
    def opaque(self) -> bool:
        """Whether it counts although there is nothing to read in it."""
        if self.kind == "other":
            return text_in(self.begun.get("type")) not in _OURS
        return self.kind == "thinking" and (self.signature is not None or self.redacted is not None)

    @property
    def redacted(self) -> str | None:
        """The payload that only the provider can read."""
        return text_in(self.begun.get("data")) or None

    @property
    def heir(self) -> str:
        """The model that writes on from here, if it says that another one declined."""
        return text_in(in_it(self.begun.get("to")).get("model")) if self.begun.get("type") == "fallback" else ""

    @property
    def said_at_once(self) -> str:
        """The words that came with its beginning."""
        return text_in(self.begun.get(self.kind))

    @property
    def given_at_once(self) -> str:
        """The arguments that came with its beginning, if it is a call; no arguments at all are no text."""
        if self.begun.get("type") != "tool_use":
            return ""
        given = self.begun.get("input")
        if isinstance(given, str):
            return given
        return to_json(given).decode() if given or (self.kind == "text" and given is not None) else ""


def closed(block: Block, provider: str) -> ContentBlock:
    """Return the block as a whole."""
    text = "".join(block.parts)
    match block.kind:
        case "text":
            return TextBlock(text=text)
        case "tool_use":
            aside = kept(block.begun, ASIDES, provider)
            return ToolUseBlock(id=block.id, name=block.name, input=arguments_of(text), raw_input=text, metadata=aside)
        case "thinking":
            signature = None if block.redacted else block.signature
            return ThinkingBlock(thinking=text, provider=provider, signature=signature, redacted=block.redacted)
        case "other":
            input: Json = {"input": arguments_of(text)} if text else {}
            return UnknownBlock.model_validate({**block.begun, **input, OWNER: provider})


def unwrapped(text: str) -> str:
    """Return the answer in a call's arguments; what is no such object is left as it is."""
    arguments = arguments_of(text)
    return to_json(arguments[VALUE]).decode() if VALUE in arguments else text


def in_it(value: JsonValue) -> Json:
    """Return an object, empty if `value` is none."""
    return value if isinstance(value, dict) else {}


def text_in(value: JsonValue) -> str:
    """Return a text, empty if `value` is none."""
    return value if isinstance(value, str) else ""

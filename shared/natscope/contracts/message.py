"""The message: who said which blocks."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from natscope.contracts.blocks import ContentBlock, ToolUseBlock, plain, text_of
from natscope.contracts.contract import Contract, Instant, new_id, now

Role = Literal["system", "user", "assistant", "tool"]


def _blocks(value: object) -> object:
    return plain(value) if isinstance(value, str) else value


Content = Annotated[list[ContentBlock], BeforeValidator(_blocks)]
"""A list of blocks; a plain string is read as one text block."""


class Message(Contract):
    """One turn of one speaker."""

    id: str = Field(default_factory=new_id)
    name: str
    """The speaker: an agent's name, a user's, or a tool's."""
    role: Role
    content: Content
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    created_at: Instant = Field(default_factory=now)

    @property
    def text(self) -> str:
        """The text blocks' text, joined with line feeds."""
        return text_of(self.content)

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The calls in this message, in the order the model wrote them."""
        return [block for block in self.content if isinstance(block, ToolUseBlock)]

"""What a provider is given and gives back, and what every provider must be able to do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from natscope.contracts.blocks import ContentBlock
from natscope.contracts.model import Chat, FinishReason, Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to one model of a provider."""

    ask: Chat
    """Media that the provider cannot fetch itself is inline already."""
    model: str
    """By the provider's name for it."""
    timeout_s: float
    """Until the caller's deadline."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more of one block of the message that is being written."""

    kind: Literal["text", "thinking", "tool_use"]
    block: int
    text: str = ""
    call_id: str | None = None
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer whose end was proven."""

    content: list[ContentBlock]
    finish_reason: FinishReason
    usage: Usage
    model: str
    response_id: str | None = None


Hear = Callable[[Piece], Awaitable[None]]
"""Called with each piece as it comes, in order."""


class Provider(Protocol):
    """One account at one provider."""

    @property
    def name(self) -> str:
        """By the OpenTelemetry registry (`gen_ai.provider.name`)."""
        ...

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the server, if there is one."""
        ...

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Ask once. With `hear` the answer is streamed.

        Raises:
            Failed: no answer; it says what happened and what may help.
        """
        ...

    async def close(self) -> None:
        """Give the connections back."""
        ...


class Accounts(Protocol):
    """The providers, by their names in the models file."""

    def at(self, name: str) -> Provider:
        """Return one.

        Raises:
            CredentialMissing: its key is not set.
        """
        ...

"""What a provider is given and gives back, and what every provider must be able to do."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from pydantic import JsonValue

from natscope.contracts.blocks import ContentBlock
from natscope.contracts.model import Chat, Draw, Embed, FinishReason, Modality, Speak, Transcribe, Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to one model of a provider."""

    ask: Chat
    """Media that the provider cannot fetch itself is inline already."""
    model: str
    """By the provider's name for it."""
    timeout_s: float
    """Until the caller's deadline."""
    max_output_tokens: int | None = None
    """The most this model writes, where the models file says so; some providers must be told a limit."""


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
    metadata: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """What else was said about the message, such as `annotations` (web pages it quotes) or `refusal`."""
    billed_usd: float | None = None
    """What the provider says it charges; None: it does not say."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """One vector for each text, in their order."""

    vectors: list[list[float]]
    usage: Usage
    model: str


@dataclass(frozen=True, slots=True)
class Media:
    """Sound or a picture that a provider made."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Made:
    """What a provider made of an ask for media."""

    media: list[Media]
    usage: Usage
    model: str
    addresses: tuple[str, ...] = ()
    """Where more of it lies, yet to be fetched."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording."""

    text: str
    usage: Usage
    model: str


Fetches = Mapping[Modality, tuple[str, ...]]

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


@runtime_checkable
class Fetcher(Protocol):
    """A provider that fetches some media itself."""

    @property
    def fetches(self) -> Fetches:
        """Beginnings of the addresses that it takes as they are, by what lies there."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """A provider that turns texts into vectors."""

    @property
    def texts_at_once(self) -> int:
        """The most texts that it takes in one request."""
        ...

    async def embed(self, ask: Embed, *, model: str, timeout_s: float) -> Vectors:
        """Ask once.

        Raises:
            Failed: no answer.
        """
        ...


@runtime_checkable
class Speaker(Protocol):
    """A provider that speaks."""

    async def speak(self, ask: Speak, *, model: str, timeout_s: float) -> Made:
        """Ask once.

        Raises:
            Failed: no answer.
        """
        ...


@runtime_checkable
class Transcriber(Protocol):
    """A provider that listens."""

    async def transcribe(self, ask: Transcribe, sound: Media, *, model: str, timeout_s: float) -> Transcript:
        """Ask once. `sound` is what the ask's block refers to.

        Raises:
            Failed: no answer.
        """
        ...


@runtime_checkable
class Painter(Protocol):
    """A provider that draws."""

    async def draw(self, ask: Draw, *, model: str, timeout_s: float) -> Made:
        """Ask once.

        Raises:
            Failed: no answer.
        """
        ...


class Account(Protocol):
    """One key at one provider."""

    @property
    def id(self) -> str:
        """Tells it from all others in every replica, and does not tell the key."""
        ...

    @property
    def key(self) -> str | None:
        """What the variable is called that holds the key."""
        ...

    @property
    def patience_s(self) -> float | None:
        """The longest wait for the first piece of an answer while another target could be asked."""
        ...

    @property
    def provider(self) -> Provider:
        """Its client, made when it is first asked.

        Raises:
            SpecInvalid: its settings are wrong, or its package is not installed.
        """
        ...

    def held(self) -> AbstractAsyncContextManager[None]:
        """Keep the client open while the body runs, even if the models file changes meanwhile."""
        ...


class Accounts(Protocol):
    """The accounts, by the names of their providers in the models file."""

    def of(self, provider: str) -> Sequence[Account]:
        """Return one for each key that is set, in order; at least one."""
        ...

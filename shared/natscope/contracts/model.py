"""Asking a model: one door for every provider."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.contract import Contract, Token, new_id
from natscope.contracts.door import Command, Event
from natscope.contracts.message import Message
from natscope.contracts.tool import ToolSpec

FinishReason = Literal["stop", "length", "tool_call", "content_filter"]


class Usage(Contract):
    """Tokens of one or more model calls. Input includes what was cached, output includes reasoning."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class Generation(Contract):
    """How the model should write; what is None is left to the provider."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    seed: int | None = None
    stop: list[str] = Field(default_factory=list[str], max_length=4)


class Chat(Contract):
    """Ask for the next assistant message."""

    request_id: Token = Field(default_factory=new_id)
    """Asking again under the same id gets the same answer and is not paid twice. Kept for one day."""
    model: str
    """An alias of `deploy/models.yaml`."""
    messages: list[Message]
    tools: list[ToolSpec] = Field(default_factory=list[ToolSpec])
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of the one tool that must be called."""
    generation: Generation = Generation()
    deltas_to: str | None = None
    """A subject that hears each `Delta` as it comes; with None the answer comes in one piece."""
    agent: str | None = None
    session: str | None = None


class Chatted(Contract):
    """The assistant's whole message, with its end proven."""

    message: Message
    finish_reason: FinishReason
    usage: Usage = Usage()
    provider: str
    """By the names of the OpenTelemetry registry (`gen_ai.provider.name`)."""
    model: str
    """What the provider says it ran."""
    response_id: str | None = None
    replayed: bool = False
    """True if the answer was kept from an earlier ask under the same `request_id`; nothing was paid."""


class Delta(Contract):
    """A piece of the message, published while it is being written."""

    attempt: int = 1
    sequence: int
    """Counts from 0 within an attempt, without a gap."""
    kind: Literal["text", "thinking", "tool_use", "reset"]
    """`reset`: the attempt failed; forget all of it, the next attempt begins."""
    block: int = 0
    """Index of the block in the message that is being written."""
    text: str = ""
    """A piece of text, of thinking, or of a call's raw arguments."""
    call_id: str | None = None
    """On a call's first delta: its id."""
    tool: str | None = None
    """On a call's first delta: its tool."""


class List(Contract):
    """Ask which models there are."""


class ModelInfo(Contract):
    """One alias that may be asked for."""

    alias: str
    provider: str
    model: str
    context_size: int | None = None
    ready: bool = True
    """False if the key it needs is not set."""
    remedy: str | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)


class Listed(Contract):
    """The configured aliases, in the order of the file."""

    models: list[ModelInfo]


class Cancelled(Contract):
    """Nobody waits for the answer any more; if it is still being written, the provider's stream is closed."""

    request_id: Token


CHAT = Command(
    template="model.chat",
    summary="Write the next assistant message; deltas stream to `deltas_to`.",
    room="model-gateway",
    ask=Chat,
    answer=Chatted,
    deadline_s=300,
)
LIST = Command(
    template="model.list",
    summary="Name the models that may be asked for.",
    room="model-gateway",
    ask=List,
    answer=Listed,
    deadline_s=5,
)
CANCELLED = Event[Cancelled](
    template="model.cancelled.{request}",
    summary="An answer is no longer wanted; whoever asks the provider for it stops.",
    room="agent",
    body=Cancelled,
)

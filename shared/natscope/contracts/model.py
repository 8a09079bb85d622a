"""Asking a model: one door for every provider."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.blocks import AudioBlock, ImageBlock, TextBlock
from natscope.contracts.contract import Contract, Instant, Subject, Token, new_id
from natscope.contracts.door import Command, Event
from natscope.contracts.message import Message
from natscope.contracts.tool import ToolName, ToolSpec

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
    thinking: Literal["off", "low", "medium", "high"] | None = None
    """How much to think before answering; a model that cannot be told takes no notice."""


class Output(Contract):
    """What the answer must look like: a JSON value that fits a schema."""

    json_schema: dict[str, JsonValue]
    """JSON Schema, draft 2020-12. Each provider gets as much of it as it understands; the answer is held to all."""
    name: ToolName = "answer"
    description: str | None = None


class _Paid(Contract):
    """What every ask that costs money has."""

    request_id: Token = Field(default_factory=new_id)
    """Asking again under the same id gets the same answer and is not paid twice. Kept for one day."""
    model: str
    """An alias of `deploy/models.yaml`."""
    tenant: Token | None = None
    """Whose money it is; with `agent` and `session` it says which budgets and limits hold."""
    agent: str | None = None
    session: str | None = None


class Chat(_Paid):
    """Ask for the next assistant message."""

    messages: list[Message]
    form: Literal["chat", "multi_agent"] = "chat"
    """`multi_agent`: what others said since is told as one turn that names the speakers; for talks of more than two."""
    tools: list[ToolSpec] = Field(default_factory=list[ToolSpec])
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of the one tool that must be called."""
    output: Output | None = None
    """With it the answer's text is a JSON value that fits the schema, and `Chatted.output` holds it."""
    generation: Generation = Generation()
    deltas_to: Subject | None = None
    """A subject that hears each `Delta` as it comes; with None the answer comes in one piece."""
    reuse_s: Annotated[float, Field(ge=0, le=86_400)] = 0
    """An answer to the very same question that is not older than this may be given again; 0: never."""


class Chatted(Contract):
    """The assistant's whole message, with its end proven."""

    message: Message
    finish_reason: FinishReason
    output: JsonValue = None
    """The value that was asked for by `Chat.output`; it fits its schema."""
    usage: Usage = Usage()
    cost_usd: float | None = None
    """None if the model's price is not known."""
    provider: str
    """By the names of the OpenTelemetry registry (`gen_ai.provider.name`)."""
    model: str
    """What the provider says it ran."""
    response_id: str | None = None
    attempts: int = 1
    """How often a provider was asked until this came."""
    replayed: bool = False
    """True if the answer was kept: from an earlier ask under the same `request_id`, or under `reuse_s` from one that
    said the same. Nothing was paid."""


class Delta(Contract):
    """A piece of the message, published while it is being written."""

    attempt: int = 1
    sequence: int
    """Counts from 0 within an attempt, without a gap."""
    kind: Literal["text", "thinking", "tool_use", "reset", "end"]
    """`reset`: the attempt failed; forget all of it, the next attempt begins. `end`: the message is whole."""
    block: int = 0
    """Index of the block in the message that is being written."""
    text: str = ""
    """A piece of text, of thinking, or of a call's raw arguments."""
    call_id: str | None = None
    """On a call's first delta: its id."""
    tool: str | None = None
    """On a call's first delta: its tool."""
    usage: Usage | None = None
    """At the end."""
    finish_reason: FinishReason | None = None
    """At the end."""


class List(Contract):
    """Ask which models there are."""


Modality = Literal["text", "image", "audio", "video", "file"]
Purpose = Literal["chat", "embedding", "speech", "transcription", "image"]


class Price(Contract):
    """US dollars for a million tokens."""

    input: float
    output: float = 0.0
    cache_read: float | None = None
    """None: as `input`."""
    cache_write: float | None = None
    """None: as `input`."""


class ModelInfo(Contract):
    """One alias that may be asked for."""

    alias: str
    purpose: Purpose = "chat"
    provider: str
    model: str
    context_size: int | None = None
    """Tokens of prompt and answer together."""
    max_output_tokens: int | None = None
    modalities: list[Modality] | None = None
    """What it takes; None: not known, then nothing is refused."""
    price: Price | None = None
    ready: bool = True
    """False if the key it needs is not set."""
    remedy: str | None = None
    fallbacks: list[str] = Field(default_factory=list[str])
    """`provider/model` of those that are asked when it fails, in order."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)


class Listed(Contract):
    """The configured aliases, in the order of the file."""

    models: list[ModelInfo]
    fault: str | None = None
    """Why the models file as it stands now is not in force, if it is not; the one before still is."""


class Embed(_Paid):
    """Ask for the vectors of some texts."""

    texts: Annotated[list[str], Field(min_length=1, max_length=2048)]
    dimensions: Annotated[int, Field(gt=0)] | None = None
    """None: as many as the model has."""


class Embedded(Contract):
    """One vector for each text, in their order, all of the same length."""

    vectors: list[list[float]]
    usage: Usage = Usage()
    cost_usd: float | None = None
    provider: str
    model: str
    replayed: bool = False


class Speak(_Paid):
    """Ask for a text to be spoken."""

    text: Annotated[str, Field(min_length=1, max_length=32_768)]
    voice: str = "alloy"
    format: Literal["mp3", "wav", "opus", "flac", "aac", "pcm"] = "mp3"
    instructions: str | None = None
    """How to speak, for models that take it."""


class Spoken(Contract):
    """The sound, by reference."""

    audio: AudioBlock
    cost_usd: float | None = None
    provider: str
    model: str
    replayed: bool = False


class Transcribe(_Paid):
    """Ask what is said in a recording."""

    audio: AudioBlock
    language: str | None = None
    """ISO 639-1; None: the model finds out."""
    hint: str | None = None
    """Names and words that may occur."""


class Transcribed(Contract):
    """What was said."""

    text: TextBlock
    usage: Usage = Usage()
    cost_usd: float | None = None
    provider: str
    model: str
    replayed: bool = False


class Draw(_Paid):
    """Ask for pictures."""

    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    count: Annotated[int, Field(ge=1, le=10)] = 1
    width: Annotated[int, Field(gt=0)] | None = None
    """Pixels; None: the model's own."""
    height: Annotated[int, Field(gt=0)] | None = None
    quality: str | None = None


class Drawn(Contract):
    """The pictures, by reference."""

    images: list[ImageBlock]
    usage: Usage = Usage()
    cost_usd: float | None = None
    provider: str
    model: str
    replayed: bool = False


Scope = Literal["tenant", "session", "agent", "provider", "model"]
"""What usage is counted for, and what a budget or a limit may hold for."""


class AskUsage(Contract):
    """Ask what was used."""

    scope: Scope = "tenant"
    name: str | None = None
    """One of the scope; None: all that are known."""


class Account(Contract):
    """What one tenant, session, agent, provider or model has used in the current period."""

    scope: Scope
    name: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    """Calls of models whose price is not known; they are not in `cost_usd`."""
    reserved_tokens: int = 0
    """For calls that are under way."""
    reserved_usd: float = 0.0
    running: int = 0
    budget_tokens: int | None = None
    budget_usd: float | None = None
    period: Literal["hour", "day", "month", "ever"] = "ever"
    resets_at: Instant | None = None


class UsageTold(Contract):
    """The accounts that were asked for, by name."""

    accounts: list[Account]


class Fit(Contract):
    """Ask whether a value fits a schema; no model has a part in it."""

    json_schema: dict[str, JsonValue]
    value: JsonValue


class Fitted(Contract):
    """Whether it does."""

    why_not: str = ""
    """In words; empty: it fits."""


class Cancelled(Contract):
    """Nobody waits for the answer any more; if it is still being written, the provider's stream is closed."""

    request_id: Token


class Learned(Contract):
    """How a model counts prompts, beside how the gateways estimate them."""

    target: str
    """`provider/model`."""
    calls: Annotated[int, Field(ge=0)]
    """That this was learned from."""
    mean: Annotated[float, Field(gt=0, le=4)]
    """Of real to estimated tokens."""
    most: Annotated[float, Field(gt=0, le=4)]
    """The most of late."""


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
EMBED = Command(
    template="model.embed",
    summary="Turn texts into vectors.",
    room="model-gateway",
    ask=Embed,
    answer=Embedded,
    deadline_s=120,
)
SPEAK = Command(
    template="model.speak",
    summary="Speak a text; the sound comes by reference.",
    room="model-gateway",
    ask=Speak,
    answer=Spoken,
    deadline_s=300,
)
TRANSCRIBE = Command(
    template="model.transcribe",
    summary="Write down what is said in a recording.",
    room="model-gateway",
    ask=Transcribe,
    answer=Transcribed,
    deadline_s=300,
)
DRAW = Command(
    template="model.draw",
    summary="Draw pictures; they come by reference.",
    room="model-gateway",
    ask=Draw,
    answer=Drawn,
    deadline_s=300,
)
USAGE = Command(
    template="model.usage",
    summary="Tell what was used, and what of the budgets is left.",
    room="model-gateway",
    ask=AskUsage,
    answer=UsageTold,
    deadline_s=5,
)
FIT = Command(
    template="model.fit",
    summary="Tell whether a value fits a JSON Schema, as the answers of models are held to theirs.",
    room="model-gateway",
    ask=Fit,
    answer=Fitted,
    deadline_s=5,
)
CANCELLED = Event[Cancelled](
    template="model.cancelled.{request}",
    summary="An answer is no longer wanted; whoever asks the provider for it stops.",
    room="agent",
    body=Cancelled,
)
LEARNED = Event[Learned](
    template="model.learned",
    summary="What calls to a model really took; every gateway believes it, so that all reserve alike.",
    room="model-gateway",
    body=Learned,
)

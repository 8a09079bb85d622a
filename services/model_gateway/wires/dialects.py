"""How endpoints that speak chat completions differ from OpenAI's; the facts stand in dialects.yaml."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from natscope.contracts.errors import SpecInvalid
from natscope.contracts.model import Modality

FILE = Path(__file__).with_name("dialects.yaml")

Json = dict[str, JsonValue]
Level = Literal["off", "low", "medium", "high"]
OutputMode = Literal["json_schema", "json_object", "tool", "prompt"]
"""`json_schema`: held to by the endpoint · `json_object`: any JSON object, the schema stands in the prompt · `tool`: as
the arguments of a call · `prompt`: only asked for."""


_OURS = ("model", "messages", "input", "stream", "n")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thinking(_Data):
    """How a model thinks."""

    field: Literal["reasoning_content", "reasoning", "reasoning_details", "content"] | None = None
    """Where its own thoughts are sent back to it; None: they are left out."""
    replay: Literal["turn", "all"] = "all"
    """`turn`: only those since the user last spoke."""
    levels: Mapping[Level, Json] = Field(default_factory=dict)
    """What is added to a request to have it think so much."""
    forbids: frozenset[Literal["forcing", "output"]] = frozenset()
    """What it cannot do while it thinks: be forced to call a tool, or be held to JSON."""


class Media(_Data):
    """What a message may hold besides text."""

    image: bool = False
    video: bool = False
    audio: frozenset[str] = frozenset()
    """Formats."""
    audio_as: Literal["base64", "data_url"] = "base64"
    file: Literal["file", "document_url"] | None = None
    """How a PDF is sent."""


class Embedding(_Data):
    """How vectors are asked for."""

    packed: bool = True
    """They may come as base64, which is a quarter of the size."""
    texts_at_once: Annotated[int, Field(gt=0)] = 2048


def _only_more(body: Json) -> Json:
    """Refuse what the gateway says itself; of several answers (`n`) all would be paid and one read."""
    if ours := [name for name in _OURS if name in body]:
        raise ValueError(f"{', '.join(ours)}: the gateway says this itself, leave it out")
    return body


class Dialect(_Data):
    """One endpoint's ways. Without arguments: OpenAI's."""

    provider: str = "openai"
    """By the OpenTelemetry registry (`gen_ai.provider.name`)."""
    base_url: str | None = "https://api.openai.com/v1"
    """None: everybody has their own."""
    key: str | None = "OPENAI_API_KEY"
    """The variable that usually holds the key; None: none is needed."""
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    seed_field: Literal["seed", "random_seed"] | None = "seed"
    name_field: bool = True
    """A turn may say who speaks."""
    temperature_max: float = 2.0
    without_sampling: str | None = None
    """Models that refuse `temperature` and `top_p`, by a regular expression."""
    stops: int = 4
    """How many stop sequences are taken."""
    stream_usage: bool = True
    """A stream must be asked for its usage."""
    output: OutputMode = "json_schema"
    output_with_tools: OutputMode | None = None
    """While tools are offered; None: as `output`."""
    strict: bool = True
    """`json_schema` is OpenAI's strict subset; else any schema is sent as it is."""
    tool_choices: frozenset[Literal["auto", "none", "required", "named"]] = frozenset(
        ("auto", "none", "required", "named")
    )
    required_word: Literal["required", "any"] = "required"
    parallel_calls: bool = True
    """`parallel_tool_calls` is taken."""
    any_arguments: bool = True
    """A call may go back with arguments that are no JSON object, just as the model wrote them."""
    call_ids: str = r"^.{1,40}$"
    """What the ids of calls look like; one of another provider is changed to fit."""
    thinking: Thinking = Thinking()
    media: Media = Media(image=True, audio=frozenset(("wav", "mp3")), file="file")
    fetches: frozenset[Modality] = frozenset()
    """What may be given by an address in the web."""
    embedding: Embedding = Embedding()
    body: Annotated[Json, AfterValidator(_only_more)] = Field(default_factory=dict)
    """Added to every request."""
    sources: Annotated[tuple[str, ...], Field(min_length=1)] = ("https://platform.openai.com/docs/api-reference/chat",)

    @property
    def takes(self) -> frozenset[Modality]:
        """What a message may hold."""
        has: dict[Modality, bool] = {
            "text": True,
            "image": self.media.image,
            "video": self.media.video,
            "audio": bool(self.media.audio),
            "file": self.media.file is not None,
        }
        return frozenset(kind for kind, is_taken in has.items() if is_taken)

    def samples(self, model: str) -> bool:
        """Return whether `model` lets itself be told a temperature."""
        return self.without_sampling is None or re.search(self.without_sampling, model) is None


@cache
def names() -> tuple[str, ...]:
    """Return the dialects that are known."""
    return tuple(_read())


def dialect(name: str = "openai", overrides: Mapping[str, JsonValue] | None = None) -> Dialect:
    """Return a dialect, with some of its facts changed: a mapping is merged, anything else is replaced.

    Raises:
        SpecInvalid: there is no such dialect, or no such fact.
    """
    if not overrides:
        return _known(name)
    return _made(name, _merged(_raw(name), dict(overrides)))


@cache
def _known(name: str) -> Dialect:
    return _made(name, _raw(name))


def _made(name: str, raw: dict[str, Any]) -> Dialect:
    try:
        return Dialect.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise SpecInvalid(
            f"dialect {name!r}: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def _raw(name: str) -> dict[str, Any]:
    raw = _read().get(name)
    if raw is None:
        raise SpecInvalid(f"there is no dialect {name!r}", remedy=f"use one of {', '.join(names())}")
    like = raw.get("like")
    own = {field: value for field, value in raw.items() if field != "like"}
    return {**_raw(like), **own} if like else own


@cache
def _read() -> dict[str, dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader, and our own file


def _merged(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(old)
    for name, value in new.items():
        mine = both.get(name)
        both[name] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return both

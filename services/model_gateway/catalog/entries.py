"""What may stand in the models file: providers, and the aliases that name their models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from natscope.contracts.errors import SpecInvalid
from natscope.contracts.model import Modality, Price, Purpose
from services.model_gateway.accounting.rules import BudgetEntry, LimitEntry
from services.model_gateway.wires import dialects

Environment = Mapping[str, str]
Seconds = Annotated[float, Field(gt=0)]
Tokens = Annotated[int, Field(gt=0)]
ProviderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]


class Entry(BaseModel):
    """Anything in the file: what it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FromEnvironment(Entry):
    """A value that an environment variable may set."""

    env: str
    default: str | None = None

    def value(self, environment: Environment) -> str | None:
        """Return the variable's value; one that is empty counts as not set."""
        return environment.get(self.env, "").strip() or self.default


Value = FromEnvironment | str


class KeyFromEnvironment(Entry):
    """A key is only ever named in the file."""

    env: str

    @model_validator(mode="before")
    @classmethod
    def _names_a_variable(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError("a key never stands in the file: name the variable that holds it, {env: NAME}")
        return value


class AccountEntry(Entry):
    """What every account over the network has."""

    base_url: Value
    api_key: KeyFromEnvironment | None = None
    api_keys: Annotated[list[KeyFromEnvironment], Field(min_length=1)] | None = None
    """Instead of `api_key`: asked in this order; a key that is limited or refused gives way to the next."""
    timeout_s: Seconds = 120.0
    """The longest wait for the first piece of an answer while another target could be asked instead."""
    stall_s: Seconds = 120.0
    """The longest silence in a stream before the attempt is given up."""

    @model_validator(mode="after")
    def _has_a_key(self) -> "AccountEntry":
        if self.api_key is not None and self.api_keys is not None:
            raise ValueError("say either `api_key` or `api_keys`")
        if not self.keys and self.needs_key:
            raise ValueError("say `api_key: {env: NAME}`")
        return self

    @property
    def keys(self) -> list[str]:
        """The variables that may hold a key, in order."""
        return [key.env for key in self.api_keys or ([self.api_key] if self.api_key else [])]

    @property
    def needs_key(self) -> bool:
        """Whether nothing can be asked without a key."""
        return True


class OpenAIEntry(AccountEntry):
    """An endpoint that speaks one of OpenAI's two languages. What is not said is as its dialect has it."""

    kind: Literal["openai"]
    dialect: str = "openai"
    """Whose flavour it speaks: one of services/model_gateway/wires/dialects.yaml."""
    overrides: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """In what it differs from that; see `wires.dialects.Dialect`."""
    name: str
    """By the OpenTelemetry registry."""
    api: Literal["chat", "responses"] = "chat"
    base_url: Value

    @model_validator(mode="before")
    @classmethod
    def _as_its_dialect(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        name, overrides = str(value.get("dialect", "openai")), value.get("overrides")
        try:
            flavour = dialects.dialect(name, overrides if isinstance(overrides, dict) else None)
        except SpecInvalid as error:
            field = "dialect" if name not in dialects.names() else "overrides"
            raise PydanticCustomError("dialect", "{told}", {"told": str(error), "field": field}) from None
        said: dict[str, object] = {"name": flavour.provider, "base_url": flavour.base_url, **value}
        if flavour.key and "api_key" not in said and "api_keys" not in said:
            said["api_key"] = {"env": flavour.key}
        if said["base_url"] is None:
            raise ValueError(f"dialect {value.get('dialect')!r} needs a `base_url`")
        return said

    @property
    def needs_key(self) -> bool:
        """Whether nothing can be asked without a key."""
        return self.flavour.key is not None

    @property
    def flavour(self) -> dialects.Dialect:
        """How it speaks."""
        return dialects.dialect(self.dialect, self.overrides)


class AnthropicEntry(AccountEntry):
    """Anthropic's messages. Needs the extra `anthropic`."""

    kind: Literal["anthropic"]
    name: str = "anthropic"
    base_url: Value = "https://api.anthropic.com"
    sampling: bool = False
    """Send `temperature` and `top_p`; only models before Claude Opus 4.7, and servers that speak alike, take them."""
    native_output: bool = True
    """Hold structured answers by the API itself; false, for models before Claude 4.5: by a forced tool."""
    cache: bool = True
    """Mark talks that go on for the prompt cache."""


class GeminiEntry(AccountEntry):
    """Google's Gemini. Needs the extra `gemini`."""

    kind: Literal["gemini"]
    name: str = "gcp.gemini"
    base_url: Value = "https://generativelanguage.googleapis.com"


class ScriptedEntry(Entry):
    """The offline provider: answers by a script, without a network."""

    kind: Literal["scripted"]
    name: str = "scripted"
    script: Path | None = None
    """Relative to the models file; None: the script that comes with the gateway."""
    pace_s: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Between the pieces of a streamed answer."""


class LocalEntry(Entry):
    """Embeddings in this process, without a network and without a key. Needs the extra `local-embeddings`."""

    kind: Literal["local"]
    name: str = "local"


AnyEntry = OpenAIEntry | AnthropicEntry | GeminiEntry | ScriptedEntry | LocalEntry
ProviderEntry = Annotated[AnyEntry, Field(discriminator="kind")]


class TargetEntry(Entry):
    """One model of one provider. What is not said about it is looked up in the list of known models."""

    provider: str
    model: Value
    weight: Annotated[float, Field(gt=0)] | None = None
    """Neighbours with weights are of equal standing: which is asked first is drawn by weight."""
    stand_in: bool = False
    """Asked only if no other target has its key, never because another one failed."""
    context_size: Tokens | None = None
    """Of prompt and answer together."""
    max_output_tokens: Tokens | None = None
    modalities: Annotated[list[Modality], Field(min_length=1)] | None = None
    """What it takes."""
    price: Price | None = None


class AliasEntry(Entry):
    """What an alias stands for."""

    targets: Annotated[list[TargetEntry], Field(min_length=1)]
    """Asked in this order until one answers; those whose key is not set are passed over."""
    purpose: Purpose = "chat"
    on_content_filter: Literal["tell", "next"] = "tell"
    """What to do when a provider's policy refuses: tell the asker, or ask the next target."""
    reuse_s: Annotated[float, Field(ge=0, le=86_400)] = 0
    """For asks that do not say it themselves; see `Chat.reuse_s`."""


class File(Entry):
    """The whole file."""

    providers: dict[ProviderName, ProviderEntry]
    aliases: Annotated[dict[str, AliasEntry], Field(min_length=1)]
    budgets: list[BudgetEntry] = Field(default_factory=list[BudgetEntry])
    limits: list[LimitEntry] = Field(default_factory=list[LimitEntry])

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError("the file must hold `providers` and `aliases`")
        return value

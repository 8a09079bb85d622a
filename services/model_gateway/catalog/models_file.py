"""The models file: which providers there are, and which alias stands for which model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from natscope.contracts.errors import CredentialMissing, CredentialRefused, ModelNotFound, SpecInvalid
from natscope.contracts.model import ModelInfo
from services.model_gateway.catalog import located

Environment = Mapping[str, str]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FromEnvironment(_Entry):
    """A value that an environment variable may set."""

    env: str
    default: str | None = None

    def value(self, environment: Environment) -> str | None:
        """Return the variable's value; one that is empty counts as not set."""
        return environment.get(self.env, "").strip() or self.default


Value = FromEnvironment | str


class KeyFromEnvironment(_Entry):
    """A key is only ever named in the file."""

    env: str


class _Account(_Entry):
    """What every account over the network has."""

    api_key: KeyFromEnvironment
    stall_s: Annotated[float, Field(gt=0)] = 120.0
    """The longest silence in a stream before the attempt is given up."""


class OpenAIEntry(_Account):
    """An endpoint that speaks one of OpenAI's two languages."""

    kind: Literal["openai"]
    name: str = "openai"
    """Whose flavour it speaks, by the OpenTelemetry registry."""
    api: Literal["chat", "responses"] = "chat"
    base_url: Value = "https://api.openai.com/v1"
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    thinking_field: Literal["reasoning_content", "reasoning"] | None = None
    stream_usage: bool = True


class AnthropicEntry(_Account):
    """Anthropic's messages. Needs the extra `anthropic`."""

    kind: Literal["anthropic"]
    name: str = "anthropic"
    base_url: Value = "https://api.anthropic.com"


class GeminiEntry(_Account):
    """Google's Gemini. Needs the extra `gemini`."""

    kind: Literal["gemini"]
    name: str = "gcp.gemini"
    base_url: Value = "https://generativelanguage.googleapis.com"


class ScriptedEntry(_Entry):
    """The offline provider: answers by a script, without a network."""

    kind: Literal["scripted"]
    name: str = "scripted"
    script: Path | None = None
    """Relative to the models file; None: the script that comes with the gateway."""
    pace_s: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Between the pieces of a streamed answer."""


AnyEntry = OpenAIEntry | AnthropicEntry | GeminiEntry | ScriptedEntry
ProviderEntry = Annotated[AnyEntry, Field(discriminator="kind")]


class TargetEntry(_Entry):
    """One model of one provider."""

    provider: str
    model: Value
    context_size: Annotated[int, Field(gt=0)] | None = None


class AliasEntry(_Entry):
    """What an alias stands for."""

    first_ready: Annotated[list[TargetEntry], Field(min_length=1)]
    """The first one whose provider has its key is asked."""


class _File(_Entry):
    providers: dict[str, ProviderEntry]
    aliases: Annotated[dict[str, AliasEntry], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError("the file must hold `providers` and `aliases`")
        return value


@dataclass(frozen=True, slots=True)
class Target:
    """A model that can be asked."""

    provider: str
    """Its name in the file."""
    model: str
    context_size: int | None = None


class Catalog:
    """The models file, read against an environment."""

    def __init__(self, path: Path, file: _File, environment: Environment) -> None:
        self.path = path
        self.providers: Mapping[str, AnyEntry] = file.providers
        self._aliases = file.aliases
        self._environment = environment

    @classmethod
    def read(cls, path: Path, environment: Environment) -> "Catalog":
        """Read the file at `path`.

        Raises:
            SpecInvalid: it is wrong; the message names line and field.
        """
        file = located.read(path, _File)
        for alias, entry in file.aliases.items():
            for place, target in enumerate(entry.first_ready):
                if target.provider not in file.providers:
                    field = ("aliases", alias, "first_ready", place, "provider")
                    line = located.line(path, field)
                    known = ", ".join(file.providers) or "none"
                    raise SpecInvalid(
                        f"{path}:{line}: {'.'.join(map(str, field))}: there is no provider {target.provider!r}",
                        remedy=f"declared are: {known}",
                    )
        return cls(path, file, environment)

    def target(self, alias: str) -> Target:
        """Return what `alias` stands for now.

        Raises:
            ModelNotFound: there is no such alias; the known ones are named.
            CredentialMissing: none of its providers has its key.
        """
        entry = self._aliases.get(alias)
        if entry is None:
            known = ", ".join(map(repr, self._aliases))
            raise ModelNotFound(
                f"there is no model {alias!r}", remedy=f"use one of {known}, or declare it in {self.path}"
            )
        for target in entry.first_ready:
            if self._ready(target):
                return self._resolved(alias, target)
        raise CredentialMissing(f"model {alias!r} has no key", remedy=self._remedy(entry))

    def secret(self, entry: _Account) -> SecretStr | None:
        """Return the key of a provider, if it is set.

        Raises:
            CredentialRefused: it holds what no HTTP header can carry.
        """
        value = self._environment.get(entry.api_key.env, "").strip()
        if not (value.isascii() and value.isprintable()):
            raise CredentialRefused(f"{entry.api_key.env} holds characters that no key has", remedy="set it again")
        return SecretStr(value) if value else None

    def base_url(self, entry: OpenAIEntry | AnthropicEntry | GeminiEntry) -> str:
        """Return where a provider is.

        Raises:
            SpecInvalid: its variable is not set and has no default.
        """
        return self._text(entry.base_url, "base_url")

    def infos(self) -> list[ModelInfo]:
        """Return every alias, in the order of the file."""
        return [self._info(alias, entry) for alias, entry in self._aliases.items()]

    def _info(self, alias: str, entry: AliasEntry) -> ModelInfo:
        ready = next((target for target in entry.first_ready if self._ready(target)), None)
        target = self._resolved(alias, ready or entry.first_ready[0])
        return ModelInfo(
            alias=alias,
            provider=self.providers[target.provider].name,
            model=target.model,
            context_size=target.context_size,
            ready=ready is not None,
            remedy=None if ready else self._remedy(entry),
        )

    def _ready(self, target: TargetEntry) -> bool:
        entry = self.providers[target.provider]
        return isinstance(entry, ScriptedEntry) or self.secret(entry) is not None

    def _resolved(self, alias: str, target: TargetEntry) -> Target:
        return Target(target.provider, self._text(target.model, f"model of {alias!r}"), target.context_size)

    def _text(self, value: Value, field: str) -> str:
        found = value.value(self._environment) if isinstance(value, FromEnvironment) else value
        if not found:
            raise SpecInvalid(f"{self.path}: {field}: {value!r} is not set and has no default")
        return found

    def _remedy(self, entry: AliasEntry) -> str:
        keys = [p.api_key.env for t in entry.first_ready if isinstance(p := self.providers[t.provider], _Account)]
        return f"set {' or '.join(dict.fromkeys(keys))}"

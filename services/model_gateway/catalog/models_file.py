"""The models file, read against an environment: which models an alias stands for, and which keys there are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from natscope.contracts.errors import CredentialMissing, CredentialRefused, ModelNotFound, SpecInvalid
from natscope.contracts.model import Modality, ModelInfo, Price
from natscope.yaml_lines import Place
from services.model_gateway.accounting.rules import Rules
from services.model_gateway.catalog import located
from services.model_gateway.catalog.cards import card
from services.model_gateway.catalog.entries import (
    AccountEntry,
    AliasEntry,
    AnyEntry,
    Environment,
    File,
    FromEnvironment,
    TargetEntry,
    Value,
)


@dataclass(frozen=True, slots=True)
class Target:
    """A model that can be asked."""

    provider: str
    """Its name in the file."""
    model: str
    context_size: int | None = None
    max_output_tokens: int | None = None
    modalities: tuple[Modality, ...] | None = None
    price: Price | None = None
    weight: float | None = None

    @property
    def name(self) -> str:
        """`provider/model`, as it is told to people."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is set."""

    env: str
    """The variable that holds it."""
    secret: SecretStr


class Catalog:
    """The models file, read against an environment."""

    def __init__(self, path: Path, file: File, environment: Environment) -> None:
        self.path = path
        self.providers: Mapping[str, AnyEntry] = file.providers
        self.rules = Rules(file.budgets, file.limits)
        self._file = file
        self._aliases = file.aliases
        self._environment = environment
        self._targets: dict[str, list[Target]] = {}

    @classmethod
    def read(cls, path: Path, environment: Environment) -> "Catalog":
        """Read the file at `path`.

        Raises:
            SpecInvalid: it is wrong; the message names line and field.
        """
        file = located.read(path, File)
        for place, name in _providers_named(file):
            if name not in file.providers:
                known = ", ".join(file.providers) or "none"
                raise located.wrong(path, place, f"there is no provider {name!r}", remedy=f"declared are: {known}")
        return cls(path, file, environment)

    def check(self) -> None:
        """Return if the file fits its environment, too.

        Raises:
            SpecInvalid: a variable that is needed is not set, an address is none, or a rule is for nobody.
            CredentialRefused: a key holds what no HTTP header can carry.
        """
        self.infos()
        used = self.in_use()
        for name, entry in self.providers.items():
            if isinstance(entry, AccountEntry) and (name in used or isinstance(entry.base_url, str)):
                self.base_url(entry)
        models = {f"{t.provider}/{t.model}" for alias in self._aliases for t in self._all(alias)}
        for kind, rules in (("budgets", self._file.budgets), ("limits", self._file.limits)):
            for number, rule in enumerate(rules):
                if rule.scope == "model" and rule.name is not None and rule.name not in models:
                    raise self._wrong(
                        (kind, number, "name"),
                        f"no alias asks a model {rule.name!r}",
                        remedy=f"use one of {', '.join(sorted(models))}",
                    )

    def alias(self, alias: str) -> AliasEntry:
        """Return what the file says of `alias`.

        Raises:
            ModelNotFound: there is no such alias; the known ones are named.
        """
        entry = self._aliases.get(alias)
        if entry is None:
            known = ", ".join(map(repr, self._aliases))
            raise ModelNotFound(
                f"there is no model {alias!r}", remedy=f"use one of {known}, or declare it in {self.path}"
            )
        return entry

    def targets(self, alias: str) -> list[Target]:
        """Return what may be asked for `alias`, in the order of the file; at least one.

        Raises:
            ModelNotFound: there is no such alias; the known ones are named.
            CredentialMissing: none of its providers has its key.
        """
        known = self._targets.get(alias)
        if known is not None:
            return known
        entry = self.alias(alias)
        found = self._ready(entry)
        if not found:
            raise CredentialMissing(f"model {alias!r} has no key", remedy=self._remedy(entry))
        known = self._targets[alias] = [self._resolved(alias, target) for target in found]
        return known

    def in_use(self) -> list[str]:
        """Return the providers that any alias asks."""
        ready = (target for entry in self._aliases.values() for target in self._ready(entry))
        return list(dict.fromkeys(target.provider for target in ready))

    def keys(self, provider: str) -> list[Key]:
        """Return the keys of a provider that are set, in order.

        Raises:
            CredentialRefused: one holds what no HTTP header can carry.
        """
        entry = self.providers[provider]
        names = entry.keys if isinstance(entry, AccountEntry) else []
        return [Key(name, SecretStr(value)) for name in names if (value := self._key(name))]

    def base_url(self, entry: AccountEntry) -> str:
        """Return where a provider is.

        Raises:
            SpecInvalid: its variable is not set and has no default, or it is no address.
        """
        place = ("providers", next((name for name, each in self.providers.items() if each is entry), ""), "base_url")
        url = self._text(entry.base_url, place)
        if not url.startswith(("http://", "https://")):
            raise self._wrong(place, "is no address", remedy="begin it with https:// or http://")
        return url

    def infos(self) -> list[ModelInfo]:
        """Return every alias, in the order of the file."""
        return [self._info(alias, entry) for alias, entry in self._aliases.items()]

    def _key(self, name: str) -> str:
        value = self._environment.get(name, "").strip()
        if not (value.isascii() and value.isprintable()):
            raise CredentialRefused(f"{name} holds characters that no key has", remedy="set it again")
        return value

    def _info(self, alias: str, entry: AliasEntry) -> ModelInfo:
        ready = self._ready(entry)
        first, *others = [self._resolved(alias, target) for target in ready or entry.targets]
        return ModelInfo(
            alias=alias,
            purpose=entry.purpose,
            provider=self.providers[first.provider].name,
            model=first.model,
            context_size=first.context_size,
            max_output_tokens=first.max_output_tokens,
            modalities=list(first.modalities) if first.modalities else None,
            price=first.price,
            ready=bool(ready),
            remedy=None if ready else self._remedy(entry),
            fallbacks=[target.name for target in others],
        )

    def _ready(self, entry: AliasEntry) -> list[TargetEntry]:
        """Return the targets that have what they need; those that only stand in, if there are no others."""
        ready = [target for target in entry.targets if self._can_be_asked(target.provider)]
        return [target for target in ready if not target.stand_in] or ready

    def _can_be_asked(self, provider: str) -> bool:
        entry = self.providers[provider]
        return not isinstance(entry, AccountEntry) or not entry.needs_key or bool(self.keys(provider))

    def _resolved(self, alias: str, target: TargetEntry) -> Target:
        number = next(number for number, each in enumerate(self._aliases[alias].targets) if each is target)
        model = self._text(target.model, ("aliases", alias, "targets", number, "model"))
        known = card(model)
        return Target(
            provider=target.provider,
            model=model,
            context_size=target.context_size or known.context_size,
            max_output_tokens=target.max_output_tokens or known.max_output_tokens,
            modalities=tuple(target.modalities) if target.modalities else known.modalities,
            price=target.price,
            weight=target.weight,
        )

    def _all(self, alias: str) -> list[Target]:
        """Return all targets of an alias, whether their keys are set or not, save those whose variable is not set."""
        named = [
            target
            for target in self._aliases[alias].targets
            if isinstance(target.model, str) or target.model.value(self._environment)
        ]
        return [self._resolved(alias, target) for target in named]

    def _text(self, value: Value, place: Place) -> str:
        if not isinstance(value, FromEnvironment):
            return value
        found = value.value(self._environment)
        if not found:
            raise self._wrong(place, f"{value.env} is not set and there is no default", remedy=f"set {value.env}")
        return found

    def _wrong(self, place: Place, what: str, *, remedy: str) -> SpecInvalid:
        return located.wrong(self.path, place, what, remedy=remedy)

    def _remedy(self, entry: AliasEntry) -> str:
        accounts = (self.providers[target.provider] for target in entry.targets)
        names = [name for account in accounts if isinstance(account, AccountEntry) for name in account.keys]
        return f"set {' or '.join(dict.fromkeys(names))}"


def _providers_named(file: File) -> Iterator[tuple[Place, str]]:
    """Yield every place at which a provider is named."""
    for alias, entry in file.aliases.items():
        for number, target in enumerate(entry.targets):
            yield ("aliases", alias, "targets", number, "provider"), target.provider
    for kind, rules in (("budgets", file.budgets), ("limits", file.limits)):
        for number, rule in enumerate(rules):
            if rule.scope == "provider" and rule.name is not None:
                yield (kind, number, "name"), rule.name
            elif rule.scope == "model" and rule.name is not None:
                yield (kind, number, "name"), rule.name.partition("/")[0]

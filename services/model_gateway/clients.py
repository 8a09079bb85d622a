"""Makes the client of an account, by what the models file says of its provider."""

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.catalog.entries import (
    AnthropicEntry,
    AnyEntry,
    GeminiEntry,
    LocalEntry,
    OpenAIEntry,
    ScriptedEntry,
)
from services.model_gateway.catalog.models_file import Catalog, Key
from services.model_gateway.ports import Provider
from services.model_gateway.providers.script import Script
from services.model_gateway.providers.scripted import OFFLINE, Scripted

_ROOM = "services.model_gateway.providers"
_MODULES: dict[str, tuple[str, ...]] = {
    "openai": ("openai_account", "openai_chat", "openai_responses"),
    "anthropic": ("anthropic_messages",),
    "gemini": ("google_gemini",),
}


def load(kinds: Iterable[str]) -> None:
    """Import what providers of these kinds need; a package that is not there is told when it is asked. Blocks."""
    for kind in kinds:
        for name in _MODULES.get(kind, ()):
            with suppress(ModuleNotFoundError):
                import_module(f"{_ROOM}.{name}")


def client(catalog: Catalog, entry: AnyEntry, key: Key | None) -> Provider:
    """Return a client for `entry`, with `key` if it needs one. What a provider needs is imported only here.

    Raises:
        SpecInvalid: its settings are wrong, or its package is not installed.
    """
    if isinstance(entry, OpenAIEntry):
        return _openai(catalog, entry, key)
    if isinstance(entry, ScriptedEntry):
        return _scripted(catalog.path.parent, entry)
    if isinstance(entry, AnthropicEntry) and key is not None:
        return _anthropic(catalog, entry, key)
    if isinstance(entry, GeminiEntry) and key is not None:
        return _gemini(catalog, entry, key)
    if isinstance(entry, LocalEntry):
        from services.model_gateway.providers.local import Local

        return Local(entry.name)
    raise SpecInvalid(f"there is no provider of kind {entry.kind!r} yet")


def _scripted(folder: Path, entry: ScriptedEntry) -> Provider:
    path = folder / entry.script if entry.script else OFFLINE
    return Scripted(entry.name, Script.read(path), pace_s=entry.pace_s)


def _openai(catalog: Catalog, entry: OpenAIEntry, key: Key | None) -> Provider:
    from services.model_gateway.providers.openai_account import OpenAIAccount
    from services.model_gateway.providers.openai_chat import OpenAIChat
    from services.model_gateway.providers.openai_responses import OpenAIResponses

    account = OpenAIAccount(
        entry.name,
        base_url=catalog.base_url(entry),
        api_key=key.secret if key else None,
        key_name=key.env if key else None,
        stall_s=entry.stall_s,
    )
    if entry.api == "responses":
        more = entry.overrides.get("body")
        return OpenAIResponses(account, more=more if isinstance(more, dict) else None)
    return OpenAIChat(account, entry.flavour)


def _anthropic(catalog: Catalog, entry: AnthropicEntry, key: Key) -> Provider:
    from services.model_gateway.providers.anthropic_messages import AnthropicMessages
    from services.model_gateway.wires.messages import Dialect

    return AnthropicMessages(
        entry.name,
        base_url=catalog.base_url(entry),
        api_key=key.secret,
        key_name=key.env,
        dialect=Dialect(entry.sampling, entry.native_output, entry.cache),
        stall_s=entry.stall_s,
    )


def _gemini(catalog: Catalog, entry: GeminiEntry, key: Key) -> Provider:
    try:
        from services.model_gateway.providers.google_gemini import GoogleGemini
    except ModuleNotFoundError as error:
        raise _not_installed(entry.name, "gemini", error) from None
    return GoogleGemini(
        entry.name,
        base_url=catalog.base_url(entry),
        api_key=key.secret,
        key_name=key.env,
        stall_s=entry.stall_s,
    )


def _not_installed(provider: str, extra: str, error: ModuleNotFoundError) -> SpecInvalid:
    return SpecInvalid(
        f"provider {provider!r} needs {error.name!r}, which is not installed",
        remedy=f"pip install 'natscope[{extra}]'",
    )

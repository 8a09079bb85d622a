"""Makes the client of an account, by what the models file says of its provider."""

from pathlib import Path

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.catalog.entries import AnyEntry, LocalEntry, OpenAIEntry, ScriptedEntry
from services.model_gateway.catalog.models_file import Catalog, Key
from services.model_gateway.ports import Provider
from services.model_gateway.providers.script import Script
from services.model_gateway.providers.scripted import OFFLINE, Scripted


def client(catalog: Catalog, entry: AnyEntry, key: Key | None) -> Provider:
    """Return a client for `entry`, with `key` if it needs one. What a provider needs is imported only here.

    Raises:
        SpecInvalid: its settings are wrong, or its package is not installed.
    """
    if isinstance(entry, OpenAIEntry):
        return _openai(catalog, entry, key)
    if isinstance(entry, ScriptedEntry):
        return _scripted(catalog.path.parent, entry)
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
        return OpenAIResponses(account)
    return OpenAIChat(account, entry.flavour)

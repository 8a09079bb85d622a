"""The providers that are in use: each is made when it is first asked, and kept."""

from natscope.contracts.errors import CredentialMissing, SpecInvalid
from services.model_gateway.catalog.entries import AnyEntry, OpenAIEntry, ScriptedEntry
from services.model_gateway.catalog.models_file import Catalog
from services.model_gateway.ports import Provider
from services.model_gateway.providers.script import Script
from services.model_gateway.providers.scripted import OFFLINE, Scripted
from services.model_gateway.wires.chat import Dialect


class Providers:
    """The providers of a catalog, by their names in the file."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._made: dict[str, Provider] = {}

    def at(self, name: str) -> Provider:
        """Return the provider called `name` in the file.

        Raises:
            CredentialMissing: its key is not set.
            SpecInvalid: its script or its settings are wrong.
        """
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = self._make(name, self._catalog.providers[name])
        return found

    async def close(self) -> None:
        """Close all of them."""
        made, self._made = self._made, {}
        for provider in made.values():
            await provider.close()

    def _make(self, name: str, entry: AnyEntry) -> Provider:
        if isinstance(entry, OpenAIEntry):
            return self._openai(name, entry)
        if not isinstance(entry, ScriptedEntry):
            raise SpecInvalid(f"there is no provider of kind {entry.kind!r} yet")
        path = self._catalog.path.parent / entry.script if entry.script else OFFLINE
        return Scripted(entry.name, Script.read(path), pace_s=entry.pace_s)

    def _openai(self, name: str, entry: OpenAIEntry) -> Provider:
        # Imported here so that a gateway without a key spends neither its 0.5 s nor its 30 MB.
        from services.model_gateway.providers.openai_account import OpenAIAccount
        from services.model_gateway.providers.openai_chat import OpenAIChat
        from services.model_gateway.providers.openai_responses import OpenAIResponses

        keys = self._catalog.keys(name)
        if not keys:
            raise CredentialMissing(f"provider {entry.name!r} has no key", remedy=f"set {' or '.join(entry.keys)}")
        account = OpenAIAccount(
            entry.name,
            base_url=self._catalog.base_url(entry),
            api_key=keys[0].secret,
            key_name=keys[0].env,
            stall_s=entry.stall_s,
        )
        if entry.api == "responses":
            return OpenAIResponses(account)
        return OpenAIChat(account, Dialect(entry.max_tokens_field, entry.thinking_field, entry.stream_usage))

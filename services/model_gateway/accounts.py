"""The accounts that are in use: one for each key, with a client that is made when it is first asked, and kept."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from natscope.contracts.errors import NatscopeError
from services.model_gateway.catalog.entries import AccountEntry, AnyEntry
from services.model_gateway.catalog.models_file import Catalog, Key
from services.model_gateway.clients import client, load
from services.model_gateway.ports import Provider

Make = Callable[[Catalog, AnyEntry, Key | None], Provider]


class KeptAccount:
    """One key at one provider; see `ports.Account`."""

    def __init__(self, id: str, key: str | None, patience_s: float | None, make: Callable[[], Provider]) -> None:
        self.id = id
        self.key = key
        self.patience_s = patience_s
        self._make = make
        self._client: Provider | None = None
        self._users = 0
        self._retired = False

    @property
    def provider(self) -> Provider:
        """Its client, made when it is first asked."""
        if self._client is None:
            self._client = self._make()
        return self._client

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Keep the client open while the body runs."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._retired:
                await self.retire()

    async def retire(self) -> None:
        """Close the client as soon as nobody uses it."""
        self._retired = True
        if not self._users and self._client is not None:
            closing, self._client = self._client, None
            await closing.close()

    async def close(self) -> None:
        """Close the client now."""
        self._users = 0
        await self.retire()


class KeptAccounts:
    """The accounts of a catalog, by the names of their providers in the file."""

    def __init__(self, catalog: Catalog, *, make: Make = client) -> None:
        self._make = make
        self._catalog = catalog
        self._accounts: dict[str, list[KeptAccount]] = {}

    def of(self, provider: str) -> list[KeptAccount]:
        """Return one for each key that is set, in order.

        Raises:
            CredentialRefused: a key holds what no HTTP header can carry.
        """
        found = self._accounts.get(provider)
        if found is None:
            entry, keys = self._catalog.providers[provider], self._catalog.keys(provider) or [None]
            found = self._accounts[provider] = [self._account(provider, entry, key) for key in keys]
        return found

    async def prepare(self) -> None:
        """Make the clients that will be asked: done at the first ask, it would hold up all others for a second.

        What cannot be made is told when it is asked.
        """
        names = self._catalog.in_use()
        await asyncio.to_thread(load, {self._catalog.providers[name].kind for name in names})
        for account in [account for name in names for account in self.of(name)]:
            with suppress(NatscopeError):
                _ = account.provider
            await asyncio.sleep(0)

    async def follow(self, catalog: Catalog) -> None:
        """Take over another catalog. What it does not change keeps its client, the rest closes after its calls."""
        before, self._catalog = self._catalog.providers, catalog
        gone = [name for name in self._accounts if before[name] != catalog.providers.get(name)]
        retired = [account for name in gone for account in self._accounts.pop(name)]
        await asyncio.gather(*(account.retire() for account in retired))
        await self.prepare()

    async def close(self) -> None:
        """Close all clients."""
        accounts, self._accounts = self._accounts, {}
        await asyncio.gather(*(account.close() for each in accounts.values() for account in each))

    def _account(self, provider: str, entry: AnyEntry, key: Key | None) -> KeptAccount:
        catalog, make = self._catalog, self._make
        patience_s = entry.timeout_s if isinstance(entry, AccountEntry) else None
        return KeptAccount(
            f"{provider}.{_mark(key)}", key.env if key else None, patience_s, lambda: make(catalog, entry, key)
        )


def _mark(key: Key | None) -> str:
    """Return what tells a key from others: 48 bits of a digest, from which nobody gets it back."""
    secret = key.secret.get_secret_value() if key else ""
    return hashlib.blake2b(secret.encode(), digest_size=6, person=b"natscope-key").hexdigest()

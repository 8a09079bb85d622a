"""The ways to an answer: each is one model, asked with one key; an alias stands for a list of them."""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.model_gateway.catalog.models_file import Target
from services.model_gateway.ports import Account, Accounts, Provider


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One model, asked with one key, in one place of the order: two routes are never the same."""

    target: Target
    account: Account

    @property
    def provider(self) -> Provider:
        """The client to ask; see `ports.Account`."""
        return self.account.provider

    @property
    def limit_id(self) -> str:
        """What a provider's rate limits hold for: the key and the model."""
        return f"{self.account.id}.{_mark(self.target.model)}"


def routes(targets: Sequence[Target], accounts: Accounts, *, draw: Callable[[], float] = random.random) -> list[Route]:
    """Return every way to ask one of `targets`, in the order in which they are tried: key by key, target by target."""
    return [Route(target, account) for target in _drawn(targets, draw) for account in accounts.of(target.provider)]


def _drawn(targets: Sequence[Target], draw: Callable[[], float]) -> Iterator[Target]:
    """Yield `targets`, with each row of neighbours that have weights in an order drawn by weight.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
    """
    row: list[tuple[float, Target]] = []
    for target in targets:
        if target.weight is None:
            yield from _heaviest_first(row)
            row = []
            yield target
        else:
            row.append((draw() ** (1 / target.weight), target))
    yield from _heaviest_first(row)


def _heaviest_first(row: list[tuple[float, Target]]) -> Iterator[Target]:
    return (target for _, target in sorted(row, key=lambda each: each[0], reverse=True))


@lru_cache(maxsize=1024)
def _mark(model: str) -> str:
    """Return what stands for a model's name where only letters and digits may stand."""
    return hashlib.blake2b(model.encode(), digest_size=6).hexdigest()

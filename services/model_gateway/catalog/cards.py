"""What is known of models without being told: windows, lengths of answers, and the media they take."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import yaml

from natscope.contracts.model import Modality, ModelInfo, Price

CARDS = Path(__file__).with_name("cards.yaml")


@dataclass(frozen=True, slots=True)
class Card:
    """A model; what is None is not known."""

    context_size: int | None = None
    max_output_tokens: int | None = None
    modalities: tuple[Modality, ...] | None = None


class Tariff(Protocol):
    """What a model's tokens cost; see `accounting.tariff`."""

    def price(self) -> Price:
        """Return the price of short prompts."""
        ...


class Prices(Protocol):
    """The list of prices; see `accounting.prices`."""

    def tariff(self, provider: str, model: str, *, told: Price | None = None) -> Tariff | None:
        """Return what the model's tokens cost now."""
        ...

    def context_size(self, provider: str, model: str) -> int | None:
        """Return the size of the model's window."""
        ...


UNKNOWN = Card()


@lru_cache(maxsize=1024)
def card(model: str) -> Card:
    """Return the card of a model by its provider's name for it."""
    bare = model.rpartition("/")[2].partition(":")[0].lower()
    return next((card for pattern, card in _cards() if pattern.search(bare)), UNKNOWN)


def shown(infos: Iterable[ModelInfo], prices: Prices) -> list[ModelInfo]:
    """Return what is listed of models, with the prices and windows that the list of prices knows filled in."""
    return [_shown(info, prices) for info in infos]


def _shown(info: ModelInfo, prices: Prices) -> ModelInfo:
    more: dict[str, Any] = {}
    if info.price is None and (tariff := prices.tariff(info.provider, info.model)) is not None:
        more["price"] = tariff.price()
    if info.context_size is None:
        more["context_size"] = prices.context_size(info.provider, info.model)
    return info.model_copy(update=more)


@lru_cache(maxsize=1)
def _cards() -> list[tuple[re.Pattern[str], Card]]:
    rows: list[dict[str, Any]] = yaml.safe_load(CARDS.read_text(encoding="utf-8"))
    return [
        (
            re.compile(row["model"]),
            Card(row.get("context"), row.get("output"), tuple(row["takes"]) if "takes" in row else None),
        )
        for row in rows
    ]

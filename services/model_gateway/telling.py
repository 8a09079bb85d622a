"""Tells which models there are, what they cost, and what was used of them."""

from natscope.contracts.model import AskUsage, Listed, UsageTold
from services.model_gateway.accounting.books import Books
from services.model_gateway.accounting.prices import Prices
from services.model_gateway.catalog.cards import shown
from services.model_gateway.catalog.reloading import Models


class Desk:
    """Where one asks about models."""

    def __init__(self, models: Models, prices: Prices, books: Books) -> None:
        self._models = models
        self._prices = prices
        self._books = books

    def listed(self) -> Listed:
        """Return the aliases that may be asked for, and why the models file as it stands is not in force, if so."""
        return Listed(models=shown(self._models.catalog.infos(), self._prices), fault=self._models.fault)

    async def told(self, ask: AskUsage) -> UsageTold:
        """Return how accounts stand.

        Raises:
            BusUnavailable: the store does not answer.
        """
        return await self._books.told(ask)

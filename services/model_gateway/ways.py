"""Finds the routes of an alias that is for what is asked."""

from natscope.contracts.errors import ModelNotFound
from natscope.contracts.model import Purpose
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.ports import Accounts
from services.model_gateway.trying.routes import Route, routes


class Ways:
    """The aliases of the models file in force."""

    def __init__(self, models: Models, accounts: Accounts) -> None:
        self._models = models
        self._accounts = accounts

    def __call__(self, alias: str, purpose: Purpose) -> list[Route]:
        """Return every way to ask what `alias` stands for, in the order in which they are tried; at least one.

        Raises:
            ModelNotFound: there is no such alias, or it is for another purpose.
            CredentialMissing: none of its providers has its key.
        """
        catalog = self._models.catalog
        found = catalog.alias(alias).purpose
        if found != purpose:
            fitting = [info.alias for info in catalog.infos() if info.purpose == purpose]
            raise ModelNotFound(
                f"model {alias!r} is for {found}, not for {purpose}",
                remedy=f"use one of {', '.join(map(repr, fitting))}"
                if fitting
                else f"declare one with `purpose: {purpose}` in {catalog.path}",
            )
        return routes(catalog.targets(alias), self._accounts)

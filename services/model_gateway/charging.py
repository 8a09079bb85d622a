"""Charges what is made to the books, at the price of whoever made it."""

from natscope.contracts.model import Usage
from services.model_gateway.accounting.books import Books, Hold, Payer
from services.model_gateway.accounting.fitting import Need
from services.model_gateway.accounting.prices import Prices
from services.model_gateway.paying import Ask, Tokens
from services.model_gateway.trying.routes import Route

NANOS = 1_000
"""Nano-dollars for one token, for each dollar that a million of them costs."""


_ONE = Usage(input_tokens=1, output_tokens=1)


class Charging:
    """See `paying.Charges`."""

    def __init__(self, books: Books, prices: Prices) -> None:
        self._books = books
        self._prices = prices

    async def hold(self, ask: Ask, route: Route, tokens: Tokens, *, within_s: float) -> "Bill":
        """Reserve for so many tokens; see `paying.Charges`."""
        target = route.target
        tariff = self._prices.tariff(route.provider.name, target.model, told=target.price)
        step = tariff.step(tokens.input) if tariff is not None else None
        need = Need(
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            least_output_tokens=tokens.output,
            input_nanos=None if step is None else round(tokens.input * step.input * NANOS),
            nanos_per_output_token=0.0 if step is None else step.output * NANOS,
        )
        payer = Payer(tenant=ask.tenant, agent=ask.agent, session=ask.session)
        return Bill(await self._books.hold(payer, target, need, within_s=within_s), self._prices, route)


class Bill:
    """What is reserved for one attempt; see `paying.Charge`."""

    def __init__(self, hold: Hold, prices: Prices, route: Route) -> None:
        self._hold = hold
        self._prices = prices
        self._route = route

    async def settle(self, usage: Usage, model: str) -> float | None:
        """Write down what was used; what was not counted in tokens has no price that we know, unless it is free."""
        provider, target = self._route.provider.name, self._route.target
        tariff = self._prices.tariff(provider, target.model, told=target.price)
        tariff = tariff or self._prices.tariff(provider, model)
        counted = usage != Usage()
        cost_usd = tariff.cost_usd(usage if counted else _ONE) if tariff is not None else None
        if not counted and cost_usd:
            cost_usd = None
        await self._hold.settle(usage, cost_usd)
        return cost_usd

    async def release(self) -> None:
        """Give the reservation back, unless it is settled."""
        await self._hold.release()

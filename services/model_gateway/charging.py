"""Charges what is made to the books, at the price of whoever made it."""

from collections.abc import Awaitable, Callable

from natscope.contracts.model import Learned, Usage
from services.model_gateway.accounting.books import Books, Hold, Payer
from services.model_gateway.accounting.corrections import Corrections
from services.model_gateway.accounting.fitting import Need
from services.model_gateway.accounting.prices import Prices
from services.model_gateway.paying import Ask, Tokens
from services.model_gateway.trying.routes import Route

NANOS = 1_000
"""Nano-dollars for one token, for each dollar that a million of them costs."""


_ONE = Usage(input_tokens=1, output_tokens=1)


class Charging:
    """See `paying.Charges`."""

    def __init__(self, books: Books, prices: Prices, tell: Callable[[Learned], Awaitable[None]] | None = None) -> None:
        """`tell` lets the other gateways hear what was learned; None: there are none."""
        self._books = books
        self._prices = prices
        self._tell = tell
        self._corrections = Corrections()

    async def hold(self, ask: Ask, route: Route, tokens: Tokens, *, within_s: float) -> "Bill":
        """Reserve for so many tokens; see `paying.Charges`."""
        target = route.target
        tariff = self._prices.tariff(route.provider.name, target.model, told=target.price)

        def need() -> Need:
            given = self._corrections.bound(target.name, tokens.input)
            step = tariff.step(given) if tariff is not None else None
            return Need(
                input_tokens=given,
                output_tokens=tokens.output,
                least_output_tokens=tokens.output if tokens.least_output is None else tokens.least_output,
                input_nanos=None if step is None else round(given * max(step.input, step.cache_write) * NANOS),
                nanos_per_output_token=0.0 if step is None else max(step.output, step.thinking_output or 0.0) * NANOS,
            )

        payer = Payer(tenant=ask.tenant, agent=ask.agent, session=ask.session)
        hold = await self._books.hold(payer, target, need, within_s=within_s)
        return Bill(hold, self._prices, route, lambda real: self._learn(target.name, tokens.input, real))

    async def hear(self, theirs: Learned) -> None:
        """Believe what another gateway learned."""
        await self._say(self._corrections.hear(theirs))

    async def _learn(self, target: str, estimated: int, real: int) -> None:
        await self._say(self._corrections.learn(target, estimated, real))

    async def _say(self, learned: Learned | None) -> None:
        if learned is not None and self._tell is not None:
            await self._tell(learned)


class Bill:
    """What is reserved for one attempt; see `paying.Charge`."""

    def __init__(self, hold: Hold, prices: Prices, route: Route, learn: Callable[[int], Awaitable[None]]) -> None:
        """`learn` hears how many tokens the prompt really had."""
        self._hold = hold
        self._learn = learn
        self._prices = prices
        self._route = route

    @property
    def max_output_tokens(self) -> int | None:
        """How long the answer may become; see `paying.Charge`."""
        return self._hold.max_output_tokens

    async def settle(
        self, usage: Usage, model: str, *, billed_usd: float | None = None, estimated: bool = False
    ) -> float | None:
        """Write down what was used; what was not counted in tokens has no price that we know, unless it is free."""
        if not estimated:
            await self._learn(usage.input_tokens)
        provider, target = self._route.provider.name, self._route.target
        tariff = self._prices.tariff(provider, target.model, told=target.price)
        tariff = tariff or self._prices.tariff(provider, model)
        counted = usage != Usage()
        cost_usd = tariff.cost_usd(usage if counted else _ONE) if tariff is not None else None
        if not counted and cost_usd:
            cost_usd = None
        if billed_usd is not None and target.price is None:
            cost_usd = billed_usd
        await self._hold.settle(usage, cost_usd)
        return cost_usd

    async def release(self) -> None:
        """Give the reservation back, unless it is settled."""
        await self._hold.release()

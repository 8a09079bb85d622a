"""Asks along routes and pays for it: each attempt reserves what it may cost, and settles what it did cost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from natscope.contracts.model import Chat, Draw, Embed, Speak, Transcribe, Usage
from services.model_gateway.ports import Made, Transcript, Vectors
from services.model_gateway.trying.attempts import Attempts
from services.model_gateway.trying.routes import Route

Ask = Chat | Embed | Speak | Transcribe | Draw
ValueT = TypeVar("ValueT", Vectors, Made, Transcript)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The most that an attempt may use, as far as can be told before it."""

    input: int
    output: int = 0
    least_output: int | None = None
    """A shorter answer would be of no use; None: no shorter one than `output`."""


class Charge(Protocol):
    """What is reserved for one attempt."""

    @property
    def max_output_tokens(self) -> int | None:
        """How long the answer may become, so that no budget is passed; None: no budget holds for it."""
        ...

    async def settle(
        self, usage: Usage, model: str, *, billed_usd: float | None = None, estimated: bool = False
    ) -> float | None:
        """Write down what was used; return what it cost in US dollars, None if the price is not known.

        `billed_usd` is what the provider says it charges; only a price in the models file wins over it.
        `estimated`: the provider did not count, so `usage` says nothing of how well prompts are estimated.
        """
        ...

    async def release(self) -> None:
        """Give the reservation back, unless it is settled."""
        ...


class Charges(Protocol):
    """Reserves what an attempt may cost."""

    async def hold(self, ask: Ask, route: Route, tokens: Tokens, *, within_s: float) -> Charge:
        """Reserve for so many tokens, within so many seconds.

        Raises:
            BudgetExhausted, RateLimited: there is no room; nothing is reserved.
        """
        ...


@dataclass(frozen=True, slots=True)
class Paid(Generic[ValueT]):
    """What came of an ask, from whom, and what it cost."""

    value: ValueT
    route: Route
    cost_usd: float | None


class Till:
    """Where asks are paid."""

    def __init__(self, attempts: Attempts, charges: Charges, *, deadline_s: float) -> None:
        """`deadline_s` is for an ask with all its attempts."""
        self._attempts = attempts
        self._charges = charges
        self._deadline_s = deadline_s

    def ends(self) -> float:
        """Return when an ask that begins now must have its answer, in the loop's time."""
        return asyncio.get_running_loop().time() + self._deadline_s

    async def paid(
        self,
        ask: Ask,
        ways: Sequence[Route],
        work: Callable[[Route, float], Awaitable[ValueT]],
        *,
        tokens: Tokens,
        ends: float,
    ) -> Paid[ValueT]:
        """Return what `work` makes on the first way on which it succeeds.

        Raises:
            NatscopeError: it succeeded on none; see `Attempts.run`.
        """

        async def once(route: Route, timeout_s: float, _: int) -> tuple[ValueT, float | None]:
            charge = await self._charges.hold(ask, route, tokens, within_s=timeout_s)
            try:
                value = await work(route, timeout_s)
                return value, await charge.settle(value.usage, value.model)
            finally:
                await charge.release()

        outcome = await self._attempts.run(ways, once, deadline_s=ends - asyncio.get_running_loop().time())
        value, cost_usd = outcome.value
        return Paid(value, outcome.route, cost_usd)

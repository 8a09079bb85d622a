"""Asks models for the next message, and charges each attempt: also for what was written before it was broken off."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolUseBlock
from natscope.contracts.model import Chat, Usage
from services.model_gateway.accounting.tokens import Api, Estimator
from services.model_gateway.catalog.entries import OpenAIEntry
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.deltas import Deltas
from services.model_gateway.paying import Charge, Charges, Tokens
from services.model_gateway.ports import Prompt, Reply
from services.model_gateway.reserving import Reserved
from services.model_gateway.trying.attempts import Attempts, Once, Outcome
from services.model_gateway.trying.routes import Route

OUTPUT_TOKENS = 16_384
"""The longest answer that is reckoned with where the ask says none; under a budget it becomes no longer."""
LEAST_OUTPUT_TOKENS = 1_024
"""A budget that has not even room for this has none."""
LETTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Said:
    """A reply, and what it cost in US dollars; None if the price is not known."""

    reply: Reply
    cost_usd: float | None


class Talker:
    """Asks along the ways of an alias."""

    def __init__(
        self, models: Models, attempts: Attempts, charges: Charges, estimator: Estimator, *, deadline_s: float
    ) -> None:
        """`deadline_s` is for one call with all its attempts."""
        self._models = models
        self._attempts = attempts
        self._deadline_s = deadline_s
        self._charges = charges
        self._estimator = estimator

    def estimate(self, ask: Chat, route: Route) -> int:
        """Return about how many tokens the prompt is for a model."""
        entry = self._models.catalog.providers.get(route.target.provider)
        api: Api = entry.api if isinstance(entry, OpenAIEntry) else "chat"
        return self._estimator.input_tokens(ask, route.provider.name, route.target.model, api=api)

    def reserve(self, ask: Chat, route: Route) -> Reserved:
        """Begin to reserve what an attempt on `route` may cost."""
        within_s = _patience_s(route, self._deadline_s)
        return Reserved(route, lambda: self._charges.hold(ask, route, self._tokens(ask, route), within_s=within_s))

    async def run(
        self, ask: Chat, seen: Chat, ways: Sequence[Route], deltas: Deltas | None, reserved: Reserved | None = None
    ) -> Outcome[Said]:
        """Return the first reply on one of `ways`. `seen` is `ask` as the models are to see it.

        The first attempt uses what is `reserved`, if that is for its route.

        Raises:
            NatscopeError: there is none; see `Attempts.run`.
        """
        return await self._attempts.run(
            ways,
            self._asking(ask, seen, deltas, reserved),
            deltas=deltas,
            deadline_s=self._deadline_s,
            filtered_goes_on=self._models.catalog.alias(ask.model).on_content_filter == "next",
        )

    def _asking(self, ask: Chat, seen: Chat, deltas: Deltas | None, reserved: Reserved | None) -> Once[Said]:

        async def once(route: Route, timeout_s: float, _: int) -> Said:
            tokens = self._tokens(ask, route)
            charge = await reserved.take(route) if reserved is not None else None
            if charge is None:
                charge = await self._charges.hold(ask, route, tokens, within_s=_patience_s(route, timeout_s))
            try:
                prompt = Prompt(
                    _within(seen, charge.max_output_tokens),
                    route.target.model,
                    timeout_s,
                    route.target.max_output_tokens,
                )
                reply = await route.provider.chat(prompt, deltas.hear if deltas is not None else None)
                uncounted = reply.usage == Usage()
                usage = self._counted(reply, route, tokens) if uncounted else reply.usage
                cost_usd = await charge.settle(usage, reply.model, billed_usd=reply.billed_usd, estimated=uncounted)
                return Said(reply, cost_usd)
            except BaseException as error:
                broken_off = isinstance(error, asyncio.CancelledError)
                await _settle_what_was_written(charge, deltas, route, tokens, broken_off=broken_off)
                raise
            finally:
                await charge.release()

        return once

    def _tokens(self, ask: Chat, route: Route) -> Tokens:
        wanted = ask.generation.max_output_tokens
        most = min(route.target.max_output_tokens or OUTPUT_TOKENS, OUTPUT_TOKENS)
        if wanted is not None:
            return Tokens(self.estimate(ask, route), min(wanted, route.target.max_output_tokens or wanted))
        return Tokens(self.estimate(ask, route), most, min(most, LEAST_OUTPUT_TOKENS))

    def _counted(self, reply: Reply, route: Route, tokens: Tokens) -> Usage:
        """Return the tokens of a reply whose provider counted none."""
        texts = [
            block.text
            if isinstance(block, TextBlock)
            else block.thinking
            if isinstance(block, ThinkingBlock)
            else block.raw_input
            for block in reply.content
            if isinstance(block, TextBlock | ThinkingBlock | ToolUseBlock)
        ]
        written = self._estimator.text_tokens("\n".join(texts), route.provider.name, route.target.model)
        return Usage(input_tokens=tokens.input, output_tokens=written)


def _patience_s(route: Route, timeout_s: float) -> float:
    """Return how long to wait for room in a budget: not so long that the provider seems to stall."""
    return min(timeout_s, (route.account.patience_s or timeout_s) / 2)


async def _settle_what_was_written(
    charge: Charge, deltas: Deltas | None, route: Route, tokens: Tokens, *, broken_off: bool
) -> None:
    """Charge an answer that did not come to its end for the prompt, and for what was heard of it.

    What was `broken_off` by us had been asked: its provider has read the prompt and is paid for it, though nothing came
    back yet. What failed without a word is not charged, for no provider bills an error.
    """
    letters = deltas.letters if deltas is not None else 0
    if letters or broken_off:
        usage = Usage(input_tokens=tokens.input, output_tokens=-(-letters // LETTERS_PER_TOKEN))
        await charge.settle(usage, route.target.model, estimated=True)


def _within(seen: Chat, most: int | None) -> Chat:
    wanted = seen.generation.max_output_tokens
    if most is None or (wanted is not None and wanted <= most):
        return seen
    return seen.model_copy(update={"generation": seen.generation.model_copy(update={"max_output_tokens": most})})

"""One loop that tries until there is an answer, or none to be hoped for before the caller's deadline."""

import asyncio
import logging
import random
from dataclasses import dataclass

from opentelemetry.trace import Span, SpanKind

from natscope.contracts.errors import DeadlineExceeded
from natscope.contracts.model import Chat
from natscope.telemetry import Telemetry, names
from natscope.telemetry.setup import Attributes, fail
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.deltas import Deltas
from services.model_gateway.ports import Prompt, Provider, Reply
from services.model_gateway.trying.faults import Failed

log = logging.getLogger(__name__)

ATTEMPT = "attempt"
"""Name of the span of one attempt."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often to try."""

    deadline_s: float
    """For all attempts together."""
    attempts: int = 3
    """In all."""
    first_s: float = 0.25
    """The first pause is drawn from 0 to this, each further one from twice as much (full jitter)."""
    longest_s: float = 4.0
    honoured_s: float = 5.0
    """A provider that asks to wait longer than this is not waited for."""

    def pause(self, failed: Failed, attempt: int) -> float | None:
        """Return the seconds to wait after the `attempt`-th failure, or None to give up."""
        reaction = failed.fault.reaction
        if reaction == "tell" or attempt >= (2 if reaction == "once" else self.attempts):
            return None
        if failed.retry_after_s is not None:
            return failed.retry_after_s if failed.retry_after_s <= self.honoured_s else None
        return random.uniform(0, min(self.longest_s, self.first_s * 2 ** (attempt - 1)))  # noqa: S311 - no secret


class Attempts:
    """Asks one target, again where that may help."""

    def __init__(self, telemetry: Telemetry, patience: Patience) -> None:
        self._telemetry = telemetry
        self._patience = patience

    async def run(self, ask: Chat, target: Target, provider: Provider, *, deltas: Deltas | None) -> Reply:
        """Return the first answer.

        Raises:
            NatscopeError: the last attempt's fault, in our words.
            DeadlineExceeded: the deadline passed; whatever was being asked was broken off.
        """
        deadline_s = self._patience.deadline_s
        ends = asyncio.get_running_loop().time() + deadline_s
        try:
            async with asyncio.timeout_at(ends):
                return await self._until(ask, target, provider, deltas, ends)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{provider.name!r} did not answer within {deadline_s:g} s (model {target.model!r})",
                remedy="ask for less, or raise MODEL_GATEWAY_DEADLINE",
            ) from error

    async def _until(self, ask: Chat, target: Target, provider: Provider, deltas: Deltas | None, ends: float) -> Reply:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(Prompt(ask, target.model, ends - loop.time()), provider, deltas, attempt)
            except Failed as failed:
                pause = self._patience.pause(failed, attempt)
                if pause is None or loop.time() + pause >= ends:
                    raise failed.error(model=target.model, attempts=attempt) from failed
                log.warning(
                    "model attempt failed",
                    extra={"provider": provider.name, "model": target.model, "fault": failed.name, "attempt": attempt},
                )
            await asyncio.sleep(pause)
            if deltas is not None:
                await deltas.reset()

    async def _once(self, prompt: Prompt, provider: Provider, deltas: Deltas | None, attempt: int) -> Reply:
        with self._telemetry.span(ATTEMPT, kind=SpanKind.CLIENT, attributes=_attributes(provider, attempt)) as span:
            try:
                return await provider.chat(prompt, deltas.hear if deltas is not None else None)
            except Failed as failed:
                _mark(span, failed, prompt.model)
                last = failed
        raise last


def _mark(span: Span, failed: Failed, model: str) -> None:
    span.set_attribute(names.FAULT, failed.name)
    if failed.status is not None:
        span.set_attribute(names.HTTP_STATUS, failed.status)
    fail(span, failed.error(model=model, attempts=1))


def _attributes(provider: Provider, attempt: int) -> Attributes:
    attributes: dict[str, str | int] = {names.ATTEMPT: attempt, names.PROVIDER: provider.name}
    if provider.address is not None:
        attributes[names.SERVER_ADDRESS], attributes[names.SERVER_PORT] = provider.address
    return attributes

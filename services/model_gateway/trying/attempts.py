"""The one loop that tries until there is an answer, or none to be hoped for before the caller's deadline.

Nothing below it tries again: what it counts as an attempt is one request to one provider.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from opentelemetry.trace import Span, SpanKind

from natscope.contracts.errors import BudgetExhausted, RateLimited
from natscope.telemetry import Telemetry, names
from natscope.telemetry.setup import fail
from services.model_gateway.deltas import Deltas
from services.model_gateway.trying.breaker import Breakers, Entry
from services.model_gateway.trying.course import Course, Patience, Step
from services.model_gateway.trying.faults import Failed
from services.model_gateway.trying.outs import Out
from services.model_gateway.trying.routes import Route

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPT = "attempt"
"""Name of the span of one attempt."""
PROVIDER_SCOPES = ("provider", "model")
"""A limit or budget of ours that holds for one of these lets another target through."""

Once = Callable[[Route, float, int], Awaitable[T]]
"""Asks on a route, once: within so many seconds, for the n-th time in all, counted from 1."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What was answered, and on which way it came."""

    value: T
    route: Route
    attempts: int


class Attempts:
    """Asks along routes."""

    def __init__(
        self, telemetry: Telemetry, patience: Patience | None = None, breakers: Breakers | None = None
    ) -> None:
        self._telemetry = telemetry
        self._patience = patience or Patience()
        self._breakers = breakers or Breakers()

    async def run(
        self,
        routes: Sequence[Route],
        once: Once[T],
        *,
        deadline_s: float,
        deltas: Deltas | None = None,
        filtered_goes_on: bool = False,
    ) -> Outcome[T]:
        """Return the first answer. `deltas` says it is streamed, and takes back what was heard of a failed attempt.

        Raises:
            NatscopeError: no route answered; `details` hold what every attempt came to. Refusals of ours that `once`
                raises are passed on, save what holds for one provider alone: that leads to the next target.
            DeadlineExceeded: the deadline passed; whatever was being asked was broken off.
        """
        course = Course(routes, self._patience, streamed=deltas is not None, filtered_goes_on=filtered_goes_on)
        trip = _Trip(self._telemetry, self._breakers, course, once, deltas=deltas, deadline_s=deadline_s)
        return await trip.run(self._patience.honoured_s)


class _Trip(Generic[T]):
    """One call, under way."""

    def __init__(
        self,
        telemetry: Telemetry,
        breakers: Breakers,
        course: Course,
        once: Once[T],
        *,
        deltas: Deltas | None,
        deadline_s: float,
    ) -> None:
        self._telemetry = telemetry
        self._breakers = breakers
        self._course = course
        self._once = once
        self._deltas = deltas
        self._deadline_s = deadline_s
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.time() + deadline_s
        self._attempts = 0
        self._asked: Route | None = None

    async def run(self, honoured_s: float) -> Outcome[T]:
        """Return the first answer; see `Attempts.run`."""
        try:
            async with asyncio.timeout_at(self._ends):
                waits_until = self._loop.time() + honoured_s
                while True:
                    found = await self._along(self._course.start())
                    if found is not None:
                        return found
                    if self._course.said or not await self._wait(waits_until):
                        break
                return await self._insisting()
        except TimeoutError:
            raise self._course.overdue(self._deadline_s, self._asked) from None

    async def _along(self, step: Step | None) -> Outcome[T] | None:
        """Return the first answer on the way from `step` on, or None."""
        while step is not None:
            if step.pause_s:
                await asyncio.sleep(step.pause_s)
            entry = await self._breakers.enter(step.route)
            if isinstance(entry, Out):
                step = self._course.blocked(step.route, entry)
                continue
            found = await self._ask(step.route, entry)
            if isinstance(found, Outcome):
                return found
            step = found
        return None

    async def _wait(self, until: float) -> bool:
        """Wait for the first route that may be asked again; return False if that takes too long."""
        soonest_s = min(self._breakers.left_s(out) for out in self._course.outs.values())
        left_s = min(until, self._ends) - self._loop.time()
        probed = any(out.state == "probing" for out in self._course.outs.values())
        if left_s <= 0 or (soonest_s > left_s and not probed):
            return False
        await self._breakers.board.wait(max(0.01, min(soonest_s, left_s)))
        return True

    async def _insisting(self) -> Outcome[T]:
        """Return the answer of a key that is of no use, if nothing else could be asked and it is of use after all."""
        for route in () if self._course.said else tuple(self._course.outs):
            entry = await self._breakers.enter(route, insist=True)
            if isinstance(entry, Entry):
                found = await self._ask(route, entry)
                if isinstance(found, Outcome):
                    return found
        raise self._course.error()

    async def _ask(self, route: Route, entry: Entry) -> Outcome[T] | Step | None:
        """Return the answer, or where to go instead."""
        self._attempts += 1
        self._asked = route
        try:
            with self._telemetry.span(ATTEMPT, kind=SpanKind.CLIENT, attributes=self._shown(route)) as span:
                try:
                    if self._deltas is not None and self._attempts > 1:
                        await self._deltas.reset()
                    value = await self._limited(route)
                except Failed as failed:
                    entry.failed(failed)
                    step = self._course.after(route, failed, left_s=self._ends - self._loop.time())
                    _mark(span, route, failed, step)
                    return step
                except (RateLimited, BudgetExhausted) as error:
                    if error.details.get("scope") not in PROVIDER_SCOPES:
                        raise
                    entry.left()
                    fail(span, error)
                    return self._course.refused(route, error)
        except BaseException:
            entry.left()
            raise
        entry.answered()
        return Outcome(value, route, self._attempts)

    def _shown(self, route: Route) -> dict[str, str | int]:
        """Return what the span of the present attempt shows from the beginning."""
        attributes: dict[str, str | int] = {
            names.ATTEMPT: self._attempts,
            names.PROVIDER: route.provider.name,
            names.REQUEST_MODEL: route.target.model,
        }
        if route.provider.address is not None:
            attributes[names.SERVER_ADDRESS], attributes[names.SERVER_PORT] = route.provider.address
        return attributes

    async def _limited(self, route: Route) -> T:
        """Ask; while another target could be asked instead, the first piece must not keep us waiting for too long."""
        left_s = self._ends - self._loop.time()
        patience_s = route.account.patience_s
        async with route.account.held():
            if patience_s is None or patience_s >= left_s or self._course.is_last(route):
                return await self._once(route, left_s, self._attempts)
            limit = asyncio.timeout(None)
            try:
                async with limit:
                    alarm = self._loop.call_later(patience_s, self._expire, limit)
                    try:
                        return await self._once(route, left_s, self._attempts)
                    finally:
                        alarm.cancel()
            except TimeoutError:
                if not limit.expired():
                    raise
                raise Failed("stall", provider=route.provider.name, key=route.account.key) from None

    def _expire(self, limit: asyncio.Timeout) -> None:
        if self._deltas is None or not self._deltas.has_begun:
            limit.reschedule(self._loop.time())


def _mark(span: Span, route: Route, failed: Failed, step: Step | None) -> None:
    """Show what an attempt came to, and what follows."""
    reaction = "tell" if step is None else step.how
    span.set_attributes({names.FAULT: failed.name, names.REACTION: reaction})
    if failed.status is not None:
        span.set_attribute(names.HTTP_STATUS, failed.status)
    fail(span, failed.error(model=route.target.model, attempts=1))
    told: dict[str, object] = {"target": route.target.name, "key": route.account.key, "fault": failed.name}
    log.warning("model attempt failed", extra={**told, "then": reaction})

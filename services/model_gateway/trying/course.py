"""Decides where one call goes next, by what each route has said so far."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from natscope.contracts import errors
from services.model_gateway.trying import telling
from services.model_gateway.trying.faults import Failed, Reaction
from services.model_gateway.trying.outs import Out
from services.model_gateway.trying.routes import Route
from services.model_gateway.trying.telling import Said


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try."""

    attempts: int = 3
    """At one target, in all."""
    first_s: float = 0.25
    """The first pause is drawn from 0 to this, each further one from twice as much (full jitter)."""
    hurried_s: float = 0.1
    """Instead of `first_s` while another target is left: nobody should wait long for what somebody else can answer."""
    longest_s: float = 4.0
    honoured_s: float = 5.0
    """A provider that asks to wait longer than this is not waited for, and neither is a key that is out for longer."""

    def pause_s(
        self, tries: int, slowness: float, *, is_last: bool = True, draw: Callable[[], float] = random.random
    ) -> float:
        """Return the seconds to wait after so many tries at a target, the last one or not."""
        first_s = self.first_s if is_last else min(self.first_s, self.hurried_s)
        return draw() * min(self.longest_s, first_s * slowness * 2 ** (tries - 1))


@dataclass(frozen=True, slots=True)
class Step:
    """Ask on `route` after `pause_s`."""

    route: Route
    pause_s: float = 0.0
    how: Literal["again", "over"] = "over"


@dataclass
class Course:
    """One call on its way along its routes."""

    routes: Sequence[Route]
    patience: Patience
    streamed: bool = False
    filtered_goes_on: bool = False
    """Whether a refusal by one provider's policy leads to the next target."""
    said: list[Said] = field(default_factory=list[Said])
    """What every attempt came to, in order."""
    outs: dict[Route, Out] = field(default_factory=dict[Route, Out])
    """What could not be gone to, and why."""
    _closed: set[int] = field(default_factory=set[int])
    """Places of the routes that are not gone to again."""
    _tries: Counter[int] = field(default_factory=Counter[int])
    """By the identity of the target: the same model may be listed twice."""

    def start(self) -> Step:
        """Return the first step; what was out before may be gone to."""
        self.outs = {}
        self._closed = set()
        return Step(self.routes[0])

    def is_last(self, route: Route) -> bool:
        """Return whether no other target is left after this one."""
        return self._beyond(route) is None

    def blocked(self, route: Route, out: Out) -> Step | None:
        """Return where to go because `route` is out."""
        self.outs[route] = out
        self._closed.add(self.routes.index(route))
        return self._step(next(self._left(), None))

    def after(self, route: Route, failed: Failed, *, left_s: float) -> Step | None:
        """Return where to go after `route` failed, with `left_s` until the deadline; None: nothing else may help."""
        self.said.append(Said(route, failed))
        self._tries[id(route.target)] += 1
        reaction = failed.fault.reaction_to(streamed=self.streamed)
        if failed.name == "content_filter" and self.filtered_goes_on:
            reaction = "over"
        match reaction:
            case "tell":
                return None
            case "larger":
                return self._step(self._larger(route))
            case "wait" | "over":
                return self._with_another_key(route, failed) or self._later(route, failed, reaction, left_s)
            case "elsewhere" if not self.is_last(route):
                return self._step(self._beyond(route))
            case _:
                return self._again(route, failed, reaction, left_s) or self._step(self._beyond(route))

    def refused(self, route: Route, error: errors.NatscopeError) -> Step | None:
        """Return where to go because a limit of ours lets nothing through on `route`."""
        self.said.append(Said(route, error))
        return self._step(self._beyond(route))

    def error(self) -> errors.NatscopeError:
        """Return what the asker is told, now that there is nowhere to go."""
        return telling.error(self.said, self.outs)

    def overdue(self, deadline_s: float, route: Route | None) -> errors.DeadlineExceeded:
        """Return what the asker is told if the deadline passed while `route` was asked."""
        return telling.overdue(self.said, self.outs, deadline_s=deadline_s, route=route)

    def _with_another_key(self, route: Route, failed: Failed) -> Step | None:
        if failed.fault.blame not in ("rate", "key", "permission"):
            return None
        left = (each for each in self._left() if each.target is route.target and each is not route)
        return self._step(next(left, None))

    def _later(self, route: Route, failed: Failed, reaction: Reaction, left_s: float) -> Step | None:
        if reaction == "wait" and (step := self._again(route, failed, reaction, left_s)):
            return step
        return self._step(self._beyond(route))

    def _again(self, route: Route, failed: Failed, reaction: Reaction, left_s: float) -> Step | None:
        tries = self._tries[id(route.target)]
        if tries >= (min(2, self.patience.attempts) if reaction == "once" else self.patience.attempts):
            return None
        pause_s = failed.retry_after_s
        if pause_s is None:
            pause_s = self.patience.pause_s(tries, failed.fault.slowness, is_last=self.is_last(route))
        elif pause_s > self.patience.honoured_s:
            return None
        return Step(route, pause_s, "again") if pause_s < left_s else None

    def _beyond(self, route: Route) -> Route | None:
        return next((each for each in self._left() if each.target is not route.target), None)

    def _larger(self, route: Route) -> Route | None:
        size = route.target.context_size
        left = (each for each in self._left() if each.target is not route.target)
        return next((each for each in left if size is not None and (each.target.context_size or 0) > size), None)

    def _left(self) -> Iterator[Route]:
        return (each for place, each in enumerate(self.routes) if place not in self._closed)

    def _step(self, route: Route | None) -> Step | None:
        """Go to `route`, and never back to what stands before it."""
        if route is None:
            return None
        self._closed.update(range(self.routes.index(route)))
        return Step(route)

"""Keeps calls from keys that are of no use now: one circuit breaker for each, shared by all replicas.

Failures are counted by each replica for itself; what follows from them is shared, and decided on without asking.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.model_gateway.trying.board import Board
from services.model_gateway.trying.faults import Failed
from services.model_gateway.trying.outs import Out, Outs, State
from services.model_gateway.trying.routes import Route
from services.model_gateway.trying.window import Window

log = logging.getLogger(__name__)

_SLACK_S = 0.02
"""Timers and clocks of one machine agree to this."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a key is out, and for how long. Times are in seconds."""

    window_s: float = 30.0
    failures: int = 5
    """So many within the window, and at least `share` of all calls, open the circuit."""
    share: float = 0.5
    cool_s: float = 5.0
    """From the opening to the call that tries whether it works again; twice as long each time it does not."""
    coolest_s: float = 60.0
    probe_s: float = 60.0
    """A call that tries is given up for lost after this, and another one may try."""
    useless_s: float = 300.0
    """How long a key rests that was refused, or whose money is gone."""
    longest_s: float = 3600.0
    """A provider that asks to wait longer is asked again after this."""
    shared_s: float = 1.0
    """How long to wait for what the replicas share."""


class Entry:
    """Leave to ask on one route, once. Whoever got it says what came of it."""

    __slots__ = ("_breakers", "_route", "_shows")

    def __init__(self, breakers: "Breakers", route: Route, *, shows: bool) -> None:
        """`shows`: the key was out; this call shows whether it works again."""
        self._breakers = breakers
        self._route = route
        self._shows = shows

    def answered(self) -> None:
        """There was an answer, or the provider is not to blame for there being none."""
        self._breakers.answered(self._route, shows=self._shows)

    def failed(self, failed: Failed) -> None:
        """There was none."""
        self._breakers.failed(self._route, failed, shows=self._shows)

    def left(self) -> None:
        """Nothing is known: the call was broken off."""
        if self._shows:
            self._breakers.left(self._route)


class Breakers:
    """Lets calls through, or not."""

    def __init__(
        self, outs: Outs | None = None, rules: Rules | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Without `outs` nothing is shared. `clock` gives seconds since 1970."""
        self._rules = rules or Rules()
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._insisting: set[str] = set()
        self.board = Board(outs, patience_s=self._rules.shared_s)

    async def enter(self, route: Route, *, insist: bool = False) -> Entry | Out:
        """Return leave to ask on `route`, or why it must not be asked now.

        `insist` asks on a key that is of no use all the same, one call at a time: nothing else shows when it is again.
        """
        limit = await self.board.first_look(route.limit_id)
        if limit is not None and self._is_out(limit):
            return limit
        out = await self.board.first_look(route.account.id)
        if out is None:
            return Entry(self, route, shows=False)
        if self._is_out(out):
            return self._insist(route, out) if insist and out.state == "resting" else out
        return Entry(self, route, shows=True) if out.state == "resting" else await self._claim(route, out)

    def left_s(self, out: Out) -> float:
        """Return the seconds until what is out may be asked again."""
        return max(0.0, out.until - self._clock())

    def answered(self, route: Route, *, shows: bool) -> None:
        """Note a call that went well."""
        id = route.account.id
        self._window(id).note(self._clock(), well=True)
        if not shows:
            return
        self._insisting.discard(id)
        out = self.board.at(id)
        if out is not None:
            log.info("key works again", extra={"provider": out.provider, "key": out.key})
            self.board.put(id, out.model_copy(update={"state": "closed", "until": self._clock()}))

    def failed(self, route: Route, failed: Failed, *, shows: bool) -> None:
        """Note a call that failed, and what follows from it."""
        blame = failed.fault.blame
        if blame == "provider":
            self._count(route, failed)
        elif blame == "key":
            self._put(route.account.id, self._out(route, failed, "resting", self._rules.useless_s))
        else:
            self.answered(route, shows=shows)
        if blame == "rate" and failed.retry_after_s:
            rest_s = min(failed.retry_after_s, self._rules.longest_s)
            self._put(route.limit_id, self._out(route, failed, "resting", rest_s))
        if shows:
            self._insisting.discard(route.account.id)

    def left(self, route: Route) -> None:
        """Let another call show whether the key works again, at once."""
        id = route.account.id
        self._insisting.discard(id)
        out = self.board.at(id)
        if out is not None and out.state == "probing":
            self.board.put(id, out.model_copy(update={"state": "open", "until": self._clock()}))

    def _count(self, route: Route, failed: Failed) -> None:
        id, now = route.account.id, self._clock()
        window = self._window(id)
        window.note(now, well=False)
        before = self.board.at(id)
        if before is not None and before.state == "probing":
            times = before.times + 1
        elif before is None and self._is_too_much(*window.counts(now)):
            times = 1
        else:
            return
        window.forget()
        cool_s = min(self._rules.coolest_s, self._rules.cool_s * 2 ** (times - 1))
        self._put(id, self._out(route, failed, "open", cool_s).model_copy(update={"times": times}))

    def _is_too_much(self, well: int, ill: int) -> bool:
        return ill >= self._rules.failures and ill >= self._rules.share * (well + ill)

    def _insist(self, route: Route, out: Out) -> Entry | Out:
        if route.account.id in self._insisting:
            return out
        self._insisting.add(route.account.id)
        return Entry(self, route, shows=True)

    async def _claim(self, route: Route, out: Out) -> Entry | Out:
        """Be the one call among all replicas that shows whether the key works again, or learn who is."""
        id = route.account.id
        mine = out.model_copy(update={"state": "probing", "until": self._clock() + self._rules.probe_s})
        claiming = self.board.claim(id, mine)
        try:
            if await asyncio.shield(claiming):
                return Entry(self, route, shows=True)
        except asyncio.CancelledError:
            claiming.add_done_callback(lambda claimed: self._give_up(route, claimed))
            raise
        return self.board.at(id) or Entry(self, route, shows=False)

    def _give_up(self, route: Route, claimed: asyncio.Task[bool]) -> None:
        """Let another call try instead of one that was broken off before it knew that it was to."""
        if not claimed.cancelled() and claimed.exception() is None and claimed.result():
            self.left(route)

    def _put(self, id: str, out: Out) -> None:
        told = {"provider": out.provider, "key": out.key, "state": out.state, "fault": out.reason}
        log.warning("key is out", extra={**told, "for_s": round(self.left_s(out), 1)})
        self.board.put(id, out)

    def _out(self, route: Route, failed: Failed, state: State, rest_s: float) -> Out:
        return Out(
            state=state,
            reason=failed.name,
            until=self._clock() + rest_s,
            provider=route.target.provider,
            key=route.account.key,
        )

    def _window(self, id: str) -> Window:
        found = self._windows.get(id)
        if found is None:
            found = self._windows[id] = Window(self._rules.window_s)
        return found

    def _is_out(self, out: Out) -> bool:
        return out.until - self._clock() > _SLACK_S

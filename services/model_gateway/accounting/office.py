"""What all accounts of a process share: the store, the clock, and who is alive."""

import logging
import time
from collections.abc import Awaitable, Callable

from natscope.contracts.errors import BusUnavailable
from services.model_gateway.accounting.sheet import Sheet
from services.model_gateway.accounting.store import Store
from services.model_gateway.accounting.tabs import Tabs, missing, no_tabs

log = logging.getLogger(__name__)

Lives = Callable[[str], Awaitable[bool]]
"""Whether a process still gives signs of life; see `natscope.bus.instance`."""
SURE_S = 1.0
"""How long a sign of life is believed."""


class Office:
    """Where pages are written."""

    def __init__(
        self, store: Store, me: str, lives: Lives, *, tabs: Tabs = no_tabs, now: Callable[[], float] = time.time
    ) -> None:
        """`me` is this process's instance id, `tabs` finds what others left; `now` tells the seconds of the epoch."""
        self.store = store
        self.me = me
        self.now = now
        self.is_away = False
        """Whether the store did not answer when it was last asked."""
        self._lives = lives
        self._tabs = tabs
        self._seen: dict[str, float] = {}
        self._left: dict[str, tuple[float, list[str]]] = {}

    async def strike_dead(self, sheet: Sheet, key: str) -> None:
        """Take from `sheet` what is held by processes that are dead, and count what they answered and did not count.

        Raises:
            BusUnavailable: nobody can say who is alive, or what they left.
        """
        for other in sheet.others(self.me):
            if not await self._is_alive(other):
                held = sheet.held[other]
                owed = missing(key, await self._left_by(other, held.at), held.counted)
                told = {"instance": other, "calls": held.amount.calls, "counted": owed.calls}
                log.warning("reservations of a dead gateway return", extra=told)
                sheet.strike(other, owed, self.now())

    async def _left_by(self, instance: str, since: float) -> list[str]:
        """Return the tabs of a dead process, from `since` on."""
        known = self._left.get(instance)
        if known is None or known[0] > since:
            known = self._left[instance] = since, await self._tabs(instance, since)
        return known[1]

    async def _is_alive(self, instance: str) -> bool:
        now = time.monotonic()
        if self._seen.get(instance, 0.0) > now:
            return True
        if not await self._lives(instance):
            self._seen.pop(instance, None)
            return False
        self._seen[instance] = now + SURE_S
        return True

    def is_gone(self, error: BusUnavailable) -> None:
        """Note that the store does not answer."""
        if not self.is_away:
            log.warning("the books are away; budgets refuse, limits let pass", extra={"reason": error.message})
        self.is_away = True

    def is_back(self) -> None:
        """Note that the store answers."""
        self.is_away = False

"""The record of the tools that the house has ever had: a name in it may come back, another is more likely misspelt."""

import hashlib
import logging
import time
from collections.abc import Iterable

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.ledger import latest
from natscope.bus.streams import TOOLS
from natscope.contracts.errors import BusUnavailable

log = logging.getLogger(__name__)

STREAM = f"KV_{TOOLS}"
PREFIX = f"$KV.{TOOLS}."


class ToolRecord:
    """Names of tools, in a bucket that all agent services share."""

    def __init__(self, bus: Bus, *, new_s: float) -> None:
        self._bus = bus
        self._new_s = new_s
        self._known: set[str] = set()
        self._is_new = True

    async def note(self, names: Iterable[str]) -> None:
        """Keep the names; what cannot be kept now is kept by whoever sees the tool next."""
        for name in sorted(set(names) - self._known):
            if await self.has(name):
                continue
            try:
                await self._bus.inbox.store(_key(name), name.encode())
            except (nats_errors.Error, js_errors.Error) as error:
                log.debug("a tool is not recorded", extra={"tool": name, "reason": repr(error)})
                return
            self._known.add(name)

    async def has(self, name: str) -> bool:
        """Return whether a tool of that name was ever served, as far as is known."""
        if name in self._known:
            return True
        try:
            found = await latest(self._bus, STREAM, _key(name))
        except BusUnavailable:
            return False
        if found is not None:
            self._known.add(name)
        return found is not None

    async def is_of_a_new_house(self) -> bool:
        """Return whether the house is new: hosts may be about to start, with tools that were never served."""
        if self._is_new:
            self._is_new = await self._oldest_s() < self._new_s
        return self._is_new

    async def _oldest_s(self) -> float:
        try:
            first = await self._bus.js.get_msg(STREAM, seq=1, subject=f"{PREFIX}*", next=True, direct=True)
        except (nats_errors.Error, js_errors.Error):
            return -1.0
        return time.time() - first.time.timestamp() if first.time is not None else -1.0


def _key(name: str) -> str:
    return PREFIX + hashlib.sha256(name.encode()).hexdigest()[:32]

"""Reserves room for a call's first attempt while the ledger is asked whether the call was made before."""

import asyncio
from collections.abc import Awaitable, Callable

from services.model_gateway.paying import Charge
from services.model_gateway.trying.routes import Route

KEPT_S = 1.0
"""What nobody has asked for by then is given back: the call is being made elsewhere, or begins late."""


class Reserved:
    """Room on one route, asked for at once. It must be taken or dropped; until it is taken nothing is paid with it."""

    def __init__(self, route: Route, hold: Callable[[], Awaitable[Charge]]) -> None:
        self._route = route
        self._wanted = asyncio.Event()
        self._task = asyncio.create_task(self._held(hold))
        self._task.add_done_callback(_seen)
        self._is_over = False

    async def take(self, route: Route) -> Charge | None:
        """Return what is reserved, once. None: ask anew, for it is of another route, given back, or was refused before.

        Raises:
            NatscopeError: there is no room, as it turned out just now.
        """
        if route is not self._route:
            self.drop()
        if self._is_over or self._task.done():
            return None
        self._is_over = True
        self._wanted.set()
        try:
            return await self._task
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if self._task.done() and not self._task.cancelled() and self._task.exception() is None:
                await self._task.result().release()
            raise

    def drop(self) -> None:
        """Give back what was not taken."""
        if not self._is_over:
            self._is_over = True
            self._task.cancel()

    async def _held(self, hold: Callable[[], Awaitable[Charge]]) -> Charge:
        charge = await hold()
        try:
            if not self._wanted.is_set():
                async with asyncio.timeout(KEPT_S):
                    await self._wanted.wait()
        except BaseException:
            await charge.release()
            raise
        return charge


def _seen(task: "asyncio.Task[Charge]") -> None:
    """Look at what went wrong, so that asyncio does not complain where nobody else looks."""
    if not task.cancelled():
        task.exception()

"""The reins of a run: whatever it waits for outside can be let go of at once."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The run was interrupted or redirected, or its time is up."""


class Reins:
    """What one run waits for, and how it is stopped."""

    def __init__(self) -> None:
        self._working: set[asyncio.Task[Any]] = set()
        self.pulled = False
        """Whether nothing more is to be waited for."""
        self.effects_s = 0.0
        """Seconds spent waiting for models, tools and hooks."""

    def pull(self) -> None:
        """Let go of everything that is waited for."""
        self.pulled = True
        for work in self._working:
            work.cancel()

    def check(self) -> None:
        """Return if the run may go on.

        Raises:
            Stopped: it is to stop.
        """
        if self.pulled:
            raise Stopped

    async def hold(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`, or until the reins are pulled, whichever is first; `work` is cancelled then.

        Raises:
            Stopped: they were pulled.
        """
        if self.pulled:
            work.close()
            raise Stopped
        began = time.perf_counter()
        task = asyncio.create_task(work)
        self._working.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self.pulled and this is not None and not this.cancelling():
                raise Stopped from None
            raise
        finally:
            self._working.discard(task)
            self.effects_s += time.perf_counter() - began

"""An event loop whose clock stands still while there is work, and leaps where there is none: no machine is too slow."""

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

OWN_FILES = 1
"""What a loop without sockets and pipes listens to: its own way to be woken."""


class LeapingLoop(asyncio.SelectorEventLoop):
    """Waits only for what is outside: sockets, pipes, threads, processes. Any other wait is over once nothing is ready.

    A deadline passes only where nothing else can happen before it, however long the machine holds up the process. So a
    stand-in that says that time has passed has to wait that long, which takes no time.
    """

    def __init__(self) -> None:
        self.now = 1_000.0
        self.outside = 0
        """How many threads are under way, and how many processes were ever started."""
        super().__init__(_Leaps(self))

    def time(self) -> float:
        """Return the seconds of this clock."""
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run in a thread, which is waited for in real time."""
        self.outside += 1
        running = super().run_in_executor(executor, func, *args)
        running.add_done_callback(self._thread_ended)
        return running

    async def subprocess_exec(self, *args: Any, **more: Any) -> Any:
        """Start a process. From then on all time is real: nothing tells the loop which process is awaited."""
        self.outside += 1
        return await super().subprocess_exec(*args, **more)

    async def shutdown_default_executor(self, *args: Any, **more: Any) -> None:
        """Wait for the threads to end, in real time: from Python 3.12 on there is a limit to it."""
        self.outside += 1
        await super().shutdown_default_executor(*args, **more)

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self.outside -= 1


class _Leaps(selectors.DefaultSelector):
    """Moves the clock of its loop instead of waiting, where nobody else could wake the loop."""

    def __init__(self, loop: LeapingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; after `timeout` on the clock of the loop, nothing."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)
        if len(self.get_map()) <= OWN_FILES and not self._loop.outside:
            self._loop.now += timeout
            return []
        began = time.monotonic()
        ready = super().select(timeout)
        self._loop.now += time.monotonic() - began
        return ready

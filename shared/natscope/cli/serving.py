"""`natscope serve`: the tools and hooks of Python files, until Ctrl-C; a changed file is served anew without a gap."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from natscope.bus.connection import connect
from natscope.bus.streams import wait_until_provisioned
from natscope.cli.finding import Found, found
from natscope.cli.outcome import COMPLETED, FAILED, INTERRUPTED
from natscope.client.hooking import serve_hooks
from natscope.client.serving import Namesakes, serve

_READY = "NATSCOPE_READY"
"""Descriptor on which a child says that it serves."""
_PARENT = "NATSCOPE_PARENT"
"""Descriptor on which a child hears nothing, until its parent is gone."""
_HOUSE_S = 10.0
_START_S = 30.0
_DRAIN_S = 30.0
_LAST_WORDS_S = 5.0


@dataclass(frozen=True)
class Offer:
    """What is to be served, and how."""

    places: tuple[str, ...]
    """Python files, or names of modules."""
    host: str
    namesakes: Namesakes = "refuse"


async def once(offer: Offer) -> int:
    """Serve until a signal comes; what is in flight is carried out before this returns."""
    here = found(offer.places)
    opening = asyncio.current_task()
    stop = _stopping(lambda: opening and opening.cancel())
    await _reach_house()
    async with _served(offer, here) as names:
        opening = None
        _tell(f"{offer.host} serves {', '.join(names)}; Ctrl-C ends it")
        if here.agents:
            _tell(
                f"not served: {', '.join(here.agents)}; agents run in the agent service, from its folder of functions"
            )
        _say_ready()
        await stop.wait()
    return COMPLETED


@contextlib.asynccontextmanager
async def _served(offer: Offer, here: Found) -> AsyncGenerator[list[str]]:
    """Serve what was found for as long as the body runs; give the names."""
    async with contextlib.AsyncExitStack() as stack:
        names: list[str] = []
        if here.tools:
            opening = serve(*here.tools, host=offer.host, namesakes=offer.namesakes)
            names += [each.spec.name for each in await stack.enter_async_context(opening)]
        if here.hooks:
            served = await stack.enter_async_context(serve_hooks(*here.hooks, host=offer.host))
            names += [f"{name} (a hook)" for name in served]
        yield names


async def reloading(offer: Offer) -> int:
    """Serve from a child process; when a file there changes, from another one. A wrong file changes nothing."""
    stop, changed = _stopping(), asyncio.Event()
    watching = asyncio.create_task(_watch(offer.places, changed, stop))
    # begun before a child reads the files: no change is missed in between
    await asyncio.sleep(0)
    child = await _Child.start(offer, stop)
    if isinstance(child, int):
        watching.cancel()
        return child
    try:
        while await changed.wait() and not watching.done():
            changed.clear()
            newer = await _Child.start(offer, stop)
            if isinstance(newer, int):
                if not stop.is_set():
                    _tell("what was served before stays in service")
                continue
            child, older = newer, child
            await older.stop()
        await watching
    finally:
        died = child.has_died
        await child.stop()
    return FAILED if died else COMPLETED


async def _watch(places: Sequence[str], changed: asyncio.Event, stop: asyncio.Event) -> None:
    """Set `changed` whenever a Python file beside those at `places` changes, and when this ends."""
    # only here: `natscope ask` and its kind start without it
    from watchfiles import PythonFilter, awatch

    try:
        async for _ in awatch(*_folders(places), watch_filter=PythonFilter(), stop_event=stop, debounce=300):
            changed.set()
    finally:
        changed.set()


def _stopping(also: Callable[[], object] = lambda: None) -> asyncio.Event:
    """Return what is set when a signal asks us to end, or our parent has died; `also` is called then, too."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    parent = os.environ.pop(_PARENT, None)

    def end() -> None:
        if parent is not None:
            loop.remove_reader(int(parent))
        stop.set()
        also()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    if parent is not None:
        loop.add_reader(int(parent), end)
    return stop


async def _reach_house() -> None:
    """Say at once what is wrong with the address or the house there; serving itself would wait for them.

    Raises:
        Unavailable, Refused: as `connect` and `wait_until_provisioned`.
    """
    async with connect("natscope-serve") as bus:
        await wait_until_provisioned(bus.js, patience_s=_HOUSE_S)


def _folders(places: Sequence[str]) -> set[Path]:
    return {Path(place).resolve().parent if place.endswith(".py") else Path.cwd() for place in places}


def _say_ready() -> None:
    descriptor = os.environ.pop(_READY, None)
    if descriptor is not None:
        os.write(int(descriptor), b"!")
        os.close(int(descriptor))


class _Child:
    """A process that serves."""

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._lifeline = lifeline
        """While it is open, the process knows that we live."""
        self._ending = False
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, offer: Offer, stop: asyncio.Event) -> "_Child | int":
        """Return a process that serves; its exit code if it came to nothing, which it has said itself.

        `stop` ends it before it serves, and is set if it ends later although nobody stopped it.
        """
        ready, said = os.pipe()
        heard, lifeline = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "natscope.cli", "serve", "--no-reload", *offer.places),
            *("--host", offer.host, "--namesakes", offer.namesakes),
            env={**os.environ, _READY: str(said), _PARENT: str(heard)},
            pass_fds=(said, heard),
            start_new_session=True,
        )
        os.close(said)
        os.close(heard)
        child = cls(process, lifeline)
        try:
            if await _heard(ready, stop):
                child.watch(stop)
                return child
        finally:
            os.close(ready)
        if not stop.is_set():
            await child.ended(within_s=_LAST_WORDS_S)
        await child.stop()
        return INTERRUPTED if stop.is_set() else process.returncode or FAILED

    @property
    def has_died(self) -> bool:
        """Whether it ended by itself."""
        return self._process.returncode is not None and not self._ending

    def watch(self, died: asyncio.Event) -> None:
        """Set `died` if it ends although nobody stopped it."""
        self._watch = asyncio.create_task(self._watched(died))

    async def stop(self) -> None:
        """Let it carry out what it has begun, and end it."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        if not await self.ended(within_s=_DRAIN_S):
            self._process.kill()
            await self._process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    async def ended(self, *, within_s: float) -> bool:
        """Return whether it has ended, at the latest after `within_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._process.wait()
        return self._process.returncode is not None

    async def _watched(self, died: asyncio.Event) -> None:
        await self._process.wait()
        if not self._ending:
            _tell("the process that serves has died")
            died.set()


async def _heard(descriptor: int, stop: asyncio.Event) -> bool:
    """Return whether a byte comes before the other end is closed, `stop` is set, or the time is up."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    waiting = [asyncio.ensure_future(each.wait()) for each in (readable, stop)]
    try:
        done, _ = await asyncio.wait(waiting, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(descriptor)
        for each in waiting:
            each.cancel()
    if not done:
        _tell(f"it does not serve after {_START_S:g} s")
    return waiting[0] in done and bool(os.read(descriptor, 1))


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")

"""`natscope serve`: the tools of Python files, served until Ctrl-C; a changed file is served anew without a gap."""

import asyncio
import contextlib
import importlib
import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from natscope.bus.connection import connect
from natscope.bus.streams import wait_until_provisioned
from natscope.cli.outcome import COMPLETED, FAILED, INTERRUPTED
from natscope.client.serving import Namesakes, serve
from natscope.client.tools import Tool
from natscope.contracts.errors import NatscopeError, SpecInvalid

_READY = "NATSCOPE_READY"
"""Descriptor on which a child says that it serves."""
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
    """Serve until a signal comes; the calls in flight are carried out before this returns."""
    tools = found(offer.places)
    opening = asyncio.current_task()
    stop = _stopping(lambda: opening and opening.cancel())
    await _reach_house()
    async with serve(*tools, host=offer.host, namesakes=offer.namesakes) as served:
        opening = None
        _tell(f"{offer.host} serves {', '.join(each.spec.name for each in served)}; Ctrl-C ends it")
        _say_ready()
        await stop.wait()
    return COMPLETED


async def reloading(offer: Offer) -> int:
    """Serve from a child process; when a file there changes, from another one. A wrong file changes nothing."""
    # only here: `natscope ask` and its kind start without it
    from watchfiles import PythonFilter, awatch

    stop = _stopping()
    child = await _Child.start(offer, stop)
    if isinstance(child, int):
        return child
    try:
        async for _ in awatch(*_folders(offer.places), watch_filter=PythonFilter(), stop_event=stop, debounce=300):
            newer = await _Child.start(offer, stop)
            if isinstance(newer, int):
                if not stop.is_set():
                    _tell("the tools before stay in service")
                continue
            child, older = newer, child
            await older.stop()
    finally:
        died = child.has_died
        await child.stop()
    return FAILED if died else COMPLETED


def found(places: Sequence[str]) -> list[Tool]:
    """Return the tools that the modules at `places` hold under a name of their own.

    Raises:
        SpecInvalid: a place cannot be imported, or holds no tool.
    """
    tools: dict[int, Tool] = {}
    for place in places:
        here = [value for name, value in vars(_module(place)).items() if isinstance(value, Tool) and name[:1] != "_"]
        if not here:
            raise SpecInvalid(f"{place}: there is no tool", remedy="write `@natscope.tool` above a typed function")
        tools.update({id(each): each for each in here})
    return list(tools.values())


def _module(place: str) -> ModuleType:
    file = Path(place)
    try:
        if file.suffix != ".py":
            sys.path.insert(0, os.getcwd())
            return importlib.import_module(place)
        if not file.is_file():
            raise SpecInvalid(f"{place}: there is no such file")
        sys.path.insert(0, str(file.resolve().parent))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise SpecInvalid(f"{place}: is no Python file")
        module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except NatscopeError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and place.startswith(error.name or place):
            raise SpecInvalid(f"{place}: there is no such module, and it is no file that ends with .py") from error
        ours = [each for each in traceback.extract_tb(error.__traceback__) if not _is_importlib(each.filename)]
        where = "" if isinstance(error, SyntaxError) else f" ({ours[-1].filename}:{ours[-1].lineno})"
        raise SpecInvalid(f"{place} cannot be imported: {type(error).__name__}: {error}{where}") from error
    return module


def _is_importlib(file: str) -> bool:
    return file.startswith("<frozen") or Path(file).parent.name == "importlib"


def _stopping(also: Callable[[], object] = lambda: None) -> asyncio.Event:
    """Return what is set when a signal asks us to end; `also` is called then, too."""
    stop = asyncio.Event()

    def end() -> None:
        stop.set()
        also()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
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

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ending = False
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, offer: Offer, stop: asyncio.Event) -> "_Child | int":
        """Return a process that serves; its exit code if it came to nothing, which it has said itself.

        `stop` ends it before it serves, and is set if it ends later although nobody stopped it.
        """
        ready, said = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "natscope.cli", "serve", "--no-reload", *offer.places),
            *("--host", offer.host, "--namesakes", offer.namesakes),
            env={**os.environ, _READY: str(said)},
            pass_fds=(said,),
            start_new_session=True,
        )
        os.close(said)
        child = cls(process)
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

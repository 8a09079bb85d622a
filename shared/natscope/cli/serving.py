"""`natscope serve`: the tools of Python files, served until Ctrl-C; a changed file is served anew without a gap."""

import asyncio
import contextlib
import importlib
import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from natscope.cli.outcome import COMPLETED, FAILED
from natscope.client.serving import Namesakes, serve
from natscope.client.tools import Tool
from natscope.contracts.errors import NatscopeError, SpecInvalid

_READY = "NATSCOPE_READY"
"""Descriptor on which a child says that it serves."""
_START_S = 30.0
_DRAIN_S = 30.0


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
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(*tools, host=offer.host, namesakes=offer.namesakes) as served:
        _tell(f"{offer.host} serves {', '.join(each.spec.name for each in served)}; Ctrl-C ends it")
        _say_ready()
        await stop.wait()
    return COMPLETED


async def reloading(offer: Offer) -> int:
    """Serve from a child process; when a file there changes, from another one. A wrong file changes nothing."""
    # only here: `natscope ask` and its kind start without it
    from watchfiles import PythonFilter, awatch

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    child = await _Child.start(offer, stop)
    if child is None:
        return FAILED
    try:
        async for _ in awatch(*_folders(offer.places), watch_filter=PythonFilter(), stop_event=stop, debounce=300):
            newer = await _Child.start(offer, stop)
            if newer is None:
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
        ours = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
        where = "" if isinstance(error, SyntaxError) else f" ({ours[-1].filename}:{ours[-1].lineno})"
        raise SpecInvalid(f"{place} cannot be imported: {type(error).__name__}: {error}{where}") from error
    return module


def _folders(places: Sequence[str]) -> set[Path]:
    return {Path(place).resolve().parent if place.endswith(".py") else Path.cwd() for place in places}


def _say_ready() -> None:
    descriptor = os.environ.pop(_READY, None)
    if descriptor is not None:
        os.write(int(descriptor), b"!")
        os.close(int(descriptor))


class _Child:
    """A process that serves."""

    def __init__(self, process: asyncio.subprocess.Process, died: asyncio.Event) -> None:
        self._process = process
        self._ending = False
        self._watch = asyncio.create_task(self._watched(died))

    @classmethod
    async def start(cls, offer: Offer, died: asyncio.Event) -> "_Child | None":
        """Return a process that serves; None if it came to nothing, which it has said itself.

        `died` is set if it ends later although nobody stopped it.
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
        try:
            serves = await _heard(ready)
        finally:
            os.close(ready)
        if not serves and process.returncode is None:
            process.terminate()
        if not serves:
            await process.wait()
            return None
        return cls(process, died)

    @property
    def has_died(self) -> bool:
        """Whether it ended by itself."""
        return self._process.returncode is not None and not self._ending

    async def stop(self) -> None:
        """Let it carry out what it has begun, and end it."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._watch
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _watched(self, died: asyncio.Event) -> None:
        await self._process.wait()
        if not self._ending:
            _tell("the process that serves has died")
            died.set()


async def _heard(descriptor: int) -> bool:
    """Return whether a byte comes before the other end is closed, or the time is up."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        async with asyncio.timeout(_START_S):
            await readable.wait()
    except TimeoutError:
        _tell(f"it does not serve after {_START_S:g} s")
        return False
    finally:
        loop.remove_reader(descriptor)
    return bool(os.read(descriptor, 1))


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")

"""Let a program's process end as an interpreter ends, without the milliseconds it takes to tear itself down."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .telling import INTERRUPTED, ignore

_NOT_FLUSHED = 120
"""The status of an interpreter whose own output cannot be written. Source: Python/pylifecycle.c, `Py_Exit`."""


def collections() -> int:
    """Return how often garbage was collected; as long as it was not, all that a program made is of the youngest."""
    return sum(generation["collections"] for generation in gc.get_stats())


def leave(status: int, before: int = -1) -> NoReturn:
    """End this process with `status`; `INTERRUPTED` is death by that signal.

    `before` is how often garbage was collected when the program began. Nobody but the program holds its module then:
    its things end as garbage does, while its names are still known.
    """
    if threads := sys.modules.get("threading"):
        _do(threads._shutdown, threads)
    _do(atexit._run_exitfuncs, atexit)
    sys.settrace(None)
    sys.setprofile(None)
    streams: list[Any] = [getattr(sys, name, None) for name in ("stdout", "stderr")]
    failed = [stream for stream in streams if _is_open(stream) and not _do(stream.flush, stream)]
    if failed and status != INTERRUPTED:
        status = _NOT_FLUSHED
    sys.modules.pop("__main__", None)
    gc.collect(0 if collections() == before else 2)
    flush_what_is_open(told=failed)
    if status == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        status = 128 + signal.SIGINT
    os._exit(status)


def flush_what_is_open(told: Sequence[Any] = ()) -> None:
    """Flush every file but those whose failure was `told`, and what they write to."""
    known = {id(each) for stream in told for each in (stream, getattr(stream, "buffer", None))}
    files = [thing for thing in gc.get_objects() if isinstance(thing, (io.TextIOWrapper, io.BufferedWriter))]
    # texts first: what cannot be written is told once, of the file that the program has
    for file in sorted(files, key=lambda file: isinstance(file, io.BufferedWriter)):
        with contextlib.suppress(ValueError):  # one that was detached from what it wrote to
            if id(file) not in known and not file.closed and file.writable() and not _do(file.flush, file):
                known.add(id(getattr(file, "buffer", None)))


def _is_open(stream: Any) -> bool:
    try:
        return stream is not None and not getattr(stream, "closed", False)
    except Exception:  # noqa: BLE001 - one that cannot say so is not closed
        return True


def _do(act: Callable[[], object], thing: object) -> bool:
    """Return whether `act` succeeded; what it raises is shown and changes nothing, as at an interpreter's end."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - the program's own code may raise anything
        ignore(error, thing)
        return False
    return True

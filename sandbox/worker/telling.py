"""What a Python program reads and tells: its standard streams, and how its end is shown there."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

INTERRUPTED = -int(signal.SIGINT)
"""The status of a program that an interrupt ended: no exit code, but death by that signal."""

_OURS = os.path.dirname(__file__) + os.sep
_IGNORED = "Exception ignored in"
_LONG = 1 << 63
"""An exit code must be below this: what does not fit the machine's `long` is taken for -1."""


def open_input() -> None:
    """Give the interpreter its standard input."""
    raw = io.FileIO(0, closefd=False)
    sys.stdin = sys.__stdin__ = _named(io.BufferedReader(raw), raw, "<stdin>", "surrogateescape")


def open_output() -> None:
    """Give the interpreter its standard output and error anew; what is printed is written at once."""
    sys.stdout = sys.__stdout__ = _unbuffered(1, "<stdout>", "surrogateescape")
    sys.stderr = sys.__stderr__ = _unbuffered(2, "<stderr>", "backslashreplace")


def tell_of_all() -> None:
    """Show what ends a thread or is ignored with the program's lines: Python itself looks for them in files alone."""
    threading.excepthook = _show_of_thread
    sys.unraisablehook = _show_ignored


def remember(name: str, source: str) -> None:
    """Have tracebacks and `inspect` show the lines of `source` as those of the file `name`."""
    lines = io.StringIO(source + "\n", newline=None).readlines()
    linecache.cache[name] = (len(source), None, lines, name)


def status_of(leaving: SystemExit) -> int:
    """Return the exit status; what is neither a number nor nothing is shown and is status 1."""
    try:
        code = leaving.code
    except Exception:  # noqa: BLE001 - the program's own code may raise anything
        code = str(leaving)
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -_LONG <= code < _LONG else 0xFF
    _say(f"{_words(code)}\n", anyhow=True)
    return 1


def show(error: BaseException, name: str) -> int:
    """Show an error that ends a program as Python does, without the worker's own frames; return the program's status.

    `INTERRUPTED` is what ends by that exception alone: one derived from it is an error. Source: Python/pythonrun.c.
    """
    trace = _own_part(error.__traceback__, name)
    error.__traceback__ = trace
    if isinstance(error, SyntaxError) and error.text is None and error.lineno is not None:
        error.text = linecache.getline(error.filename or "", error.lineno)
    status = INTERRUPTED if type(error) is KeyboardInterrupt else 1
    try:
        if sys.excepthook is not sys.__excepthook__:
            sys.excepthook(type(error), error, trace)
            return status
    except SystemExit as leaving:
        return status_of(leaving)
    except BaseException as second:  # noqa: BLE001 - the program's own hook may raise anything
        second.__context__ = None
        _say("Error in sys.excepthook:\n" + _text(second, name) + "\nOriginal exception was:\n")
    _say(_text(error, name))
    return status


def ignore(error: BaseException, thing: object) -> None:
    """Show an error that changes nothing any more, as Python does."""
    _say(f"{_ignored_in(thing)}\n{_text(error, '')}")


def _unbuffered(descriptor: int, name: str, errors: str) -> io.TextIOWrapper:
    raw: Any = io.FileIO(descriptor, "w", closefd=False)
    return _named(raw, raw, name, errors)


def _named(buffer: Any, raw: Any, name: str, errors: str) -> io.TextIOWrapper:
    """Return a stream that bears its name and mode as the interpreter's own do."""
    raw.name = name
    stream: Any = io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, write_through=True)
    stream.mode = raw.mode.rstrip("b")
    return stream  # type: ignore[no-any-return]


def _text(error: BaseException, name: str) -> str:
    trace = _own_part(error.__traceback__, name)
    return "".join(traceback.format_exception(type(error), error, trace))


def _own_part(trace: TracebackType | None, name: str) -> TracebackType | None:
    """Return `trace` from the program's first frame on; where it has none, from behind the worker's frames on."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename != name:
        inner = inner.tb_next
    if inner is not None:
        return inner
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace


def _show_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        name = ended.thread.name if ended.thread else threading.get_ident()
        trace = traceback.format_exception(ended.exc_type, ended.exc_value, ended.exc_traceback)
        _say(f"Exception in thread {name}:\n{''.join(trace)}")


def _show_ignored(told: Any) -> None:
    """Do what `sys.unraisablehook` does; `told` is a `sys.UnraisableHookArgs`."""
    said = told.err_msg or _IGNORED
    place = f"{said}:" if told.object is None else _ignored_in(told.object, said)
    trace = traceback.format_exception(told.exc_type, told.exc_value, told.exc_traceback)
    _say(f"{place}\n{''.join(trace)}")


def _ignored_in(thing: object, said: str = _IGNORED) -> str:
    return f"{said}: {_words(thing, repr) or '<object repr() failed>'}"


def _words(thing: object, said: Callable[[object], str] = str) -> str:
    try:
        return said(thing)
    except Exception:  # noqa: BLE001 - the program's own code may raise anything
        return ""


def _say(text: str, *, anyhow: bool = False) -> None:
    """Write to standard error, which a program may have closed or taken away; `anyhow` also where it is None."""
    with contextlib.suppress(Exception):
        stream: Any = getattr(sys, "stderr", None)
        if stream is not None:
            stream.write(text)
        elif anyhow:
            os.write(2, text.encode("utf-8", "backslashreplace"))

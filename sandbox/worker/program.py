"""Turn a waiting child of the worker into the one foreign program it was made for."""

from __future__ import annotations

import atexit
import builtins
import gc
import importlib.machinery
import io
import os
import sys
import threading
import traceback
import types
from typing import Any, NoReturn

from . import chores, hardening
from .figures import save_figures, watch_for_pictures
from .lasting import Wires, read_order, run_lasting
from .telling import open_output, remember, show, status_of

NAME = "main.py"
"""The file name a Python program sees in its own tracebacks."""

LASTING = "stateful"
"""The kind of a program that the lasting interpreter runs."""

_SHELLS = ("/bin/bash", "/bin/sh")
_MAIN = types.ModuleType("__main__")
_SPEC = importlib.machinery.ModuleSpec("__main__", None)
"""Tells `multiprocessing` that there is no file to be run again in a process that it spawns."""


class Order:
    """Where a waiting child finds its program, and where its output and its word that it has done go."""

    def __init__(self, go: int, body: int, done: int, stdout: int, stderr: int, stdin: int | None) -> None:
        self.go, self.body, self.done, self.stdout, self.stderr = go, body, done, stdout, stderr
        self.stdin = stdin


class BecomeProgram(BaseException):
    """Unwinds the worker's own stack in a child that has been given its program."""

    def __init__(self, limits: dict[str, Any], kind: str, source: str, wires: Wires | None) -> None:
        super().__init__(kind)
        self.limits, self.kind, self.source, self.wires = limits, kind, source, wires


def wait_for_order(order: Order, *, folder: str) -> NoReturn:
    """Sleep until the worker gives the word, then unwind with the program; leaves when the worker is gone."""
    os.setsid()
    hardening.reset_signals()
    os.dup2(os.open(os.devnull, os.O_RDONLY) if order.stdin is None else order.stdin, 0)
    os.dup2(order.stdout, 1)
    os.dup2(order.stderr, 2)
    _close_all_but(order.go, order.body, order.done)
    os.chdir(folder)
    if not os.read(order.go, 1):
        os._exit(0)
    body = read_order(order.body)
    wires = Wires(order.go, order.body, order.done) if body["kind"] == LASTING else None
    if wires is None:
        os.closerange(3, max(order.go, order.body, order.done) + 1)
    raise BecomeProgram(body["limits"], body["kind"], body["source"], wires)


def furnish(environment: dict[str, str]) -> None:
    """Make this interpreter what a program expects to find; done once, so that no run has to pay for it."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [NAME]
    stdin = io.FileIO(0, closefd=False)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(stdin, encoding="utf-8", errors="surrogateescape")
    open_output()
    for name in [name for name in sys.modules if name.split(".")[0] == __package__]:
        del sys.modules[name]
    sys.modules["__main__"] = _MAIN
    _MAIN.__dict__.update(__builtins__=builtins, __file__=NAME, __spec__=_SPEC)


def run(limits: dict[str, Any], kind: str, source: str, wires: Wires | None) -> NoReturn:
    """Give up what is left to give up and run the program; never returns."""
    hardening.set_dumpable(True)
    hardening.yield_to_the_worker()
    hardening.refuse_system_calls()
    hardening.limit_resources(limits)
    if kind == "shell":
        _run_shell(source)
    if kind in chores.KINDS:
        chores.perform(kind, source)
    sys.path[0] = ""
    watch_for_pictures()
    if wires is not None:
        gc.enable()
        run_lasting(wires, source, _MAIN.__dict__, save_figures)
    _run_python(source)


def _run_shell(source: str) -> NoReturn:
    shell = next(path for path in _SHELLS if os.path.exists(path))
    os.execv(shell, [shell, "-c", source])  # noqa: S606 - a shell is what was asked for


def _run_python(source: str) -> NoReturn:
    source = source.removeprefix("\ufeff")
    remember(NAME, source)
    gc.enable()
    status = 0
    try:
        exec(compile(source, NAME, "exec", dont_inherit=True), _MAIN.__dict__)  # noqa: S102 - the cell is for this
    except SystemExit as leaving:
        status = status_of(leaving)
    except BaseException as error:  # noqa: BLE001 - whatever the program raised ends it
        status = 1
        show(error, NAME)
    save_figures()
    _leave(status)


def _leave(status: int) -> NoReturn:
    """Do what an interpreter does at its end, without the milliseconds it takes to tear itself down."""
    try:
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
        atexit._run_exitfuncs()
        sys.settrace(None)
        sys.setprofile(None)
        _MAIN.__dict__.clear()
        gc.collect()
        _flush_what_is_open()
    except BaseException as error:  # noqa: BLE001 - an exit handler may raise anything
        status = status or 1
        traceback.print_exception(type(error), error, error.__traceback__)
    os._exit(status)


def _flush_what_is_open() -> None:
    for thing in gc.get_objects():
        if isinstance(thing, (io.TextIOWrapper, io.BufferedWriter)) and not thing.closed and thing.writable():
            thing.flush()


def _close_all_but(*kept: int) -> None:
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))

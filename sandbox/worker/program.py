"""Turn a waiting child of the worker into the one foreign program it was made for."""

from __future__ import annotations

import builtins
import gc
import importlib.machinery
import os
import sys
import types
from typing import Any, NoReturn

from . import chores, forking, hardening
from .figures import save_figures, watch_for_pictures
from .lasting import Wires, read_order, run_lasting
from .leaving import collections, flush_what_is_open, leave
from .spawning import give_source_to_the_spawned
from .telling import open_input, open_output, remember, show, status_of, tell_of_all
from .wiping import SHARED

NAME = "main.py"
"""The file name a Python program sees in its own tracebacks."""

SCRIPT = "python"
"""The kind of a program that has an interpreter of its own."""

LASTING = "stateful"
"""The kind of a program that the lasting interpreter runs."""

_REHEARSED = "print(end='')"

_SHELLS = ("/bin/bash", "/bin/sh")
_ARGUMENT_BYTES = 128 << 10
_SPEC = importlib.machinery.ModuleSpec("__main__", None)
"""Tells `multiprocessing` that there is no file to be run again in a process that it spawns."""


def leave_the_worker(kept: tuple[int, int, int], streams: tuple[int | None, int, int], *, folder: str) -> None:
    """Let go of all descriptors of the worker but those `kept`; no standard input is an empty one."""
    os.setsid()
    hardening.yield_to_the_worker()
    hardening.reset_signals()
    stdin, stdout, stderr = streams
    os.dup2(os.open(os.devnull, os.O_RDONLY) if stdin is None else stdin, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    _close_all_but(*kept)
    _enter(folder)


def _enter(folder: str) -> None:
    """Go to the cell's own folder, even where the program before lets nobody in."""
    try:
        os.chdir(folder)
    except PermissionError:
        os.chmod(folder, 0o700)
        os.chdir(folder)


def furnish(environment: dict[str, str]) -> None:
    """Make this interpreter what a program expects to find; done once, so that no run has to pay for it."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [NAME]
    open_input()
    open_output()
    tell_of_all()
    for name in [name for name in sys.modules if name.split(".")[0] == __package__]:
        del sys.modules[name]


def wait_and_run(wires: Wires) -> NoReturn:
    """Sleep until the worker gives the word, then become the program; leaves when the worker is gone."""
    forking.begin_anew()
    _rehearse()
    main = _main_module()
    if not os.read(wires.go, 1):
        os._exit(0)
    order = read_order(wires.body)
    kind, source = order["kind"], order["source"]
    if kind != LASTING:
        os.closerange(3, max(wires.go, wires.body, wires.done) + 1)
    hardening.set_dumpable(True)
    hardening.die_first()
    hardening.limit_resources(order["limits"])
    if kind == "shell":
        _run_shell(source)
    if kind in chores.KINDS:
        chores.perform(kind, source)
    watch_for_pictures()
    if kind == LASTING:
        sys.path[0] = ""
        gc.enable()
        run_lasting(wires, source, main.__dict__, save_figures)
    sys.path[0] = os.getcwd()
    del main
    _run_python(source)


def _main_module() -> types.ModuleType:
    """Return the program's module. It is made after the fork: what was there before is never collected as garbage."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=NAME, __cached__=None, __spec__=_SPEC, __annotations__={})
    return main


def _run_shell(source: str) -> NoReturn:
    hardening.heed_signals()
    shell = next(path for path in _SHELLS if os.path.exists(path))
    os.execv(shell, [shell, "-c", _as_argument(source)])  # noqa: S606 - a shell is what was asked for


def _as_argument(source: str) -> str:
    """Return a command line that does what `source` does: no argument may have 128 KiB. Source: execve(2)."""
    data = os.fsencode(source)
    if len(data) < _ARGUMENT_BYTES:
        return source
    import tempfile

    file, path = tempfile.mkstemp(dir=SHARED)
    os.unlink(path)
    with open(file, "wb", closefd=False) as script:
        script.write(f"exec {file}<&-; ".encode() + data)
    os.set_inheritable(file, True)
    return f". /dev/fd/{file}"


def _run_python(source: str) -> NoReturn:
    source = source.removeprefix("\ufeff")
    give_source_to_the_spawned(source, NAME)
    before = collections()
    status = _execute(source, sys.modules["__main__"].__dict__)
    save_figures()
    leave(status, before)


def _execute(source: str, namespace: dict[str, Any]) -> int:
    remember(NAME, source)
    gc.enable()
    try:
        exec(compile(source, NAME, "exec", dont_inherit=True), namespace)  # noqa: S102 - the cell is for this
    except SystemExit as leaving:
        return status_of(leaving)
    except BaseException as error:  # noqa: BLE001 - whatever the program raised ends it
        return show(error, NAME)
    return 0


def _rehearse() -> None:
    """Run an empty program while nobody waits, as far as nothing is left of it.

    A page that a process writes to after a fork is copied first; those that every program needs are then its own.
    """
    _execute(_REHEARSED, {})
    gc.collect(0)
    flush_what_is_open()
    gc.disable()


def _close_all_but(*kept: int) -> None:
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))

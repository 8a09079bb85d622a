"""The lasting interpreter: one process that keeps its variables from program to program, as a notebook does."""

from __future__ import annotations

import ast
import marshal
import os
import sys
from types import CodeType
from typing import Any, NoReturn

from .inspecting import find_classes
from .leaving import leave
from .notebook_lines import is_kept_back, tree_of
from .telling import open_output, remember, show, status_of
from .tracking import Tracked

_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_COROUTINE = 0x80
"""The flag of code that awaits: `inspect.CO_COROUTINE`, without the time it takes to import that."""

_loop: Any = None


class Wires:
    """Descriptors by which the interpreter gets its programs and says that one has ended.

    Foreign code in it may use them too: it can only spoil its own session's programs with them.
    """

    def __init__(self, go: int, body: int, done: int) -> None:
        self.go, self.body, self.done = go, body, done


def read_order(body: int) -> dict[str, Any]:
    """Return the order that was last written."""
    order: dict[str, Any] = marshal.loads(os.pread(body, os.fstat(body).st_size, 0))  # noqa: S302 - the worker wrote it
    return order


def run_lasting(wires: Wires, first: str, namespace: dict[str, Any], figures: Any) -> NoReturn:
    """Run program after program in `namespace`; leaves when the worker is gone or a program exits."""
    source, names, process = first, list[str](), os.getpid()
    streams = (os.dup(1), os.dup(2))
    _furnish(namespace)
    find_classes(lambda: names)
    tracked = Tracked()
    while True:
        tracked.begin_anew()
        names.append(f"cell-{len(names) + 1}.py")
        _restore_output(streams)
        status = _run(source, names[-1], namespace, figures)
        if os.getpid() != process:
            leave(status)
        os.write(wires.done, b"\0" if status == 0 else b"\1")
        if not os.read(wires.go, 1):
            os._exit(0)
        source = str(read_order(wires.body)["source"])


def _furnish(namespace: dict[str, Any]) -> None:
    """Make the programs' names those of a notebook: they have no file, which processes that they spawn would run."""
    del namespace["__file__"], namespace["__cached__"]
    namespace.update(__spec__=None, display=_display)


def _restore_output(streams: tuple[int, int]) -> None:
    """Undo what the program before has done to its output, so that what this one prints is told."""
    for descriptor, stream in enumerate(streams, start=1):
        os.dup2(stream, descriptor)
    ours = (sys.__stdout__, sys.__stderr__)
    if (sys.stdout, sys.stderr) != ours or any(stream is None or stream.closed for stream in ours):
        open_output()


def _run(source: str, name: str, namespace: dict[str, Any], figures: Any) -> int:
    source = source.removeprefix("\ufeff")
    remember(name, source)
    status = 0
    try:
        _execute(source, name, namespace)
    except SystemExit as leaving:
        status = status_of(leaving)
        figures()
        leave(status)
    except BaseException as error:  # noqa: BLE001 - whatever the program raised ends it, and not the interpreter
        status = show(error, name)
    figures()
    _flush()
    return status


def _execute(source: str, name: str, namespace: dict[str, Any]) -> None:
    """Run a program, which may await as a coroutine does; a last expression's value is shown unless `;` follows."""
    tree = tree_of(source, name, _AWAIT)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    _evaluate(compile(tree, name, "exec", _AWAIT, dont_inherit=True), namespace)
    if isinstance(last, ast.Expr):
        value = _evaluate(compile(ast.Expression(last.value), name, "eval", _AWAIT, dont_inherit=True), namespace)
        if value is not None and not is_kept_back(source, last):
            namespace["_"] = value
            _display(value)


def _evaluate(code: CodeType, namespace: dict[str, Any]) -> Any:
    value = eval(code, namespace)  # noqa: S307 - the cell is for this
    return _await(value) if code.co_flags & _COROUTINE else value


def _await(value: Any) -> Any:
    """Return what a coroutine returns; its loop is the same from program to program, and so are tasks in it."""
    import asyncio

    global _loop
    if _loop is None or _loop.is_closed():
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop.run_until_complete(value)


def _display(*values: Any) -> None:
    """Show values as that of a last expression is shown; notebooks give it to programs as `display`."""
    for value in values:
        sys.stdout.write(repr(value) + "\n")
        _show_picture(value)


def _show_picture(value: Any) -> None:
    """Keep what a value draws itself as, where it is a picture."""
    for method, suffix in (("_repr_png_", "png"), ("_repr_jpeg_", "jpg"), ("_repr_svg_", "svg")):
        draw = getattr(type(value), method, None)
        drawn = draw(value) if callable(draw) else None
        if isinstance(drawn, (bytes, str)):
            from_text = drawn.encode() if isinstance(drawn, str) else drawn
            with open(_free_name("display", suffix), "wb") as file:
                file.write(from_text)
            return


def _free_name(kind: str, suffix: str) -> str:
    folder = os.environ["NATSCOPE_OUTPUT"]
    os.makedirs(folder, exist_ok=True)
    number = 1
    while os.path.exists(path := os.path.join(folder, f"{kind}-{number}.{suffix}")):
        number += 1
    return path


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue

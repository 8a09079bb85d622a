"""The lasting interpreter: one process that keeps its variables from program to program, as a notebook does."""

from __future__ import annotations

import ast
import json
import os
import sys
import traceback
from typing import Any, NoReturn

_BODY_LIMIT = 1 << 24


class Wires:
    """Descriptors by which the interpreter gets its programs and says that one has ended.

    Foreign code in it may use them too: it can only spoil its own session's programs with them.
    """

    def __init__(self, go: int, body: int, done: int) -> None:
        self.go, self.body, self.done = go, body, done


def read_order(body: int) -> dict[str, Any]:
    """Return the order that was last written."""
    order: dict[str, Any] = json.loads(os.pread(body, os.fstat(body).st_size, 0))
    return order


def run_lasting(wires: Wires, first: str, namespace: dict[str, Any], figures: Any) -> NoReturn:
    """Run program after program in `namespace`; leaves when the worker is gone or a program exits."""
    source, number = first, 0
    while True:
        number += 1
        status = _run(source, f"cell-{number}.py", namespace, figures)
        os.write(wires.done, b"\0" if status == 0 else b"\1")
        if not os.read(wires.go, 1):
            os._exit(0)
        source = str(read_order(wires.body)["source"])


def _run(source: str, name: str, namespace: dict[str, Any], figures: Any) -> int:
    _remember(name, source)
    status = 0
    try:
        _execute(source, name, namespace)
    except SystemExit as leaving:
        figures()
        _flush()
        os._exit(_status_of(leaving))
    except BaseException as error:  # noqa: BLE001 - whatever the program raised ends it, and not the interpreter
        status = 1
        _show(error, name)
    figures()
    _flush()
    return status


def _execute(source: str, name: str, namespace: dict[str, Any]) -> None:
    """Run a program; the value of a last expression is shown."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec", dont_inherit=True), namespace)  # noqa: S102 - the cell is for this
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), namespace)  # noqa: S307
        if value is not None:
            namespace["_"] = value
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


def _remember(name: str, source: str) -> None:
    import linecache

    linecache.cache[name] = (len(source), None, [line + "\n" for line in source.splitlines()], name)


def _status_of(leaving: SystemExit) -> int:
    if leaving.code is None:
        return 0
    return leaving.code & 0xFF if isinstance(leaving.code, int) else 1


def _show(error: BaseException, name: str) -> None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue

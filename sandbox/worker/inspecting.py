"""Let `inspect` find the source of a lasting interpreter's classes, which it looks for in one file of their module."""

from __future__ import annotations

import ast
import contextlib
import linecache
from collections.abc import Callable, Sequence
from typing import Any

_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def find_classes(names: Callable[[], Sequence[str]]) -> None:
    """Have `inspect` take a class of the programs to be in the last of them that defines it; `names` are theirs."""
    import inspect

    ask = inspect.getfile

    def getfile(object: Any) -> str:
        """Work out which source or compiled file an object was defined in."""
        if isinstance(object, type) and object.__module__ == "__main__":
            path = object.__qualname__.replace(".<locals>", "").split(".")
            for name in reversed(names()):
                with contextlib.suppress(SyntaxError):
                    if _defines(ast.parse("".join(linecache.getlines(name))), path):
                        return name
        return ask(object)

    inspect.getfile = getfile


def _defines(node: ast.AST, path: Sequence[str]) -> bool:
    """Return whether what is named by `path` is defined somewhere in `node`, however deep in other statements."""
    if not path:
        return isinstance(node, ast.ClassDef)
    below = (each for each in ast.walk(node) if each is not node and isinstance(each, _NAMED))
    return any(_defines(each, path[1:]) for each in below if each.name == path[0])

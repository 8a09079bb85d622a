"""Read programs as notebooks do: lines for the shell among those of Python, and a last `;` that keeps a value back."""

from __future__ import annotations

import ast

_NOTHING = ("%matplotlib", "%config", "%load_ext", "%autoreload")
"""Set up what shows pictures or loads changed files in a notebook, and stand for nothing here."""
_PIP = "%pip "


def tree_of(source: str, name: str, flags: int) -> ast.Module:
    """Return the program; a line for the shell is one that no Python begins with.

    Raises:
        SyntaxError: of the source as it was written.
    """
    lines, first = source.split("\n"), None
    while True:
        try:
            return compile("\n".join(lines), name, "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)
        except SyntaxError as error:
            first = first or error
            at = (error.lineno or 0) - 1
            line = _as_python(lines[at]) if 0 <= at < len(lines) else None
            if line is None:
                raise first from None
            lines[at] = line


def is_kept_back(source: str, last: ast.Expr) -> bool:
    """Return whether a `;` follows the last expression, which says that its value is not to be shown."""
    line = source.split("\n")[(last.end_lineno or 1) - 1].encode("utf-8", "surrogatepass")
    return line[last.end_col_offset :].lstrip().startswith(b";")


def _as_python(line: str) -> str | None:
    """Return what a line for the shell or the notebook does; None if it is neither."""
    said = line.lstrip()
    indent = line[: len(line) - len(said)]
    if said.startswith(_PIP):
        said = f"!python3 -m {said[1:]}"
    if said.startswith("!"):
        return f"{indent}[__import__('os').system({said[1:]!r})] and None"
    return f"{indent}None" if said.startswith(_NOTHING) else None

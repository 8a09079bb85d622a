"""Reads shell text with bash's grammar; the one file that knows tree-sitter."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from tree_sitter import Parser

LONGEST_BYTES = 10_000
MOST_SIGNS = 500
"""Brackets, pipes and arrows: the time that the grammar takes may grow with the square of their number."""
_SHORT_BYTES = 1_024


class Node(Protocol):
    """A piece of the syntax tree."""

    @property
    def type(self) -> str: ...
    @property
    def start_byte(self) -> int: ...
    @property
    def end_byte(self) -> int: ...
    @property
    def children(self) -> "Sequence[Node]": ...
    @property
    def named_children(self) -> "Sequence[Node]": ...
    @property
    def is_named(self) -> bool: ...
    @property
    def has_error(self) -> bool: ...


class Unreadable(Exception):
    """The text is not taken for a program whose commands can be named; the message says why."""


def parse(text: bytes) -> Node:
    """Return the tree of a shell program. The time it takes is bounded by the length of the text.

    Raises:
        Unreadable: the text is too long, or no program of the grammar.
    """
    if len(text) > LONGEST_BYTES:
        raise Unreadable(f"it has {len(text)} bytes, more than the {LONGEST_BYTES} that are looked at")
    if sum(map(text.count, (b"(", b")", b"[", b"{", b"<", b"|"))) > MOST_SIGNS:
        raise Unreadable(f"it has more than {MOST_SIGNS} brackets, pipes and redirections")
    root = _parsed(text)
    if root is None or root.has_error:
        raise Unreadable("it is not written as bash's grammar has it")
    return root


def _parsed(text: bytes) -> Node | None:
    """Return the tree; None as soon as a longer text shows an error: to recover would take a time without bound."""
    parser = _parser()
    if len(text) <= _SHORT_BYTES:
        return cast(Node, parser.parse(text).root_node)
    try:
        tree = parser.parse(
            lambda place, _: text[place : place + _SHORT_BYTES],
            encoding="utf8",
            progress_callback=lambda _, failed: failed,
        )
    except ValueError:
        parser.reset()
        return None
    return cast(Node, tree.root_node)


@cache
def _parser() -> "Parser":
    """Return the parser. It is loaded when the first command is judged: that takes 30 ms, once per process."""
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))

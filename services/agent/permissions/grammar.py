"""Reads shell text with bash's grammar; the one file that knows tree-sitter."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from tree_sitter import Parser

LONGEST_BYTES = 32_768
MOST_ARROWS = 400
"""The grammar takes time that grows with the square of the number of arrows in a row."""


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
    if text.count(b"<") > MOST_ARROWS:
        raise Unreadable("it has too many redirections")
    root = _parser().parse(text).root_node
    if root.has_error:
        raise Unreadable("it is not written as bash's grammar has it")
    return cast(Node, root)


@cache
def _parser() -> "Parser":
    """Return the parser. It is loaded when the first command is judged: that takes 30 ms, once per process."""
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))

"""Words of a command: what quotes, escapes and expansions leave of them before anything runs."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from services.agent.permissions.grammar import Node

HIDDEN = "\0"
"""Stands in a word for what is known only when it runs."""

_OPEN = re.compile(r"[*?\[]|\{.*(?:,|\.\.)", re.DOTALL)
_ESCAPES = {
    "n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|.)", re.DOTALL)
_KNOWN_PLACES = {"HOME": "~", "PWD": "."}
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_PARTING = re.compile(r"[\s;&|<>()'\"`]")
_EXPANDING = re.compile(r"`|\$[\w(\[{@*#?$!]")
_PLAIN = frozenset({"word", "number", "variable_name", "extglob_pattern", "regex", "test_operator"})
_VARIABLES = frozenset({"variable_name", "special_variable_name"})
_SETTING = frozenset({"=", ":="})
_RISKY_EXPANSION = frozenset({"!", "@", "subscript"})


@dataclass(frozen=True, slots=True)
class Word:
    """One word, with `HIDDEN` for each part that is not known."""

    text: str
    open: bool = False
    """Whether it may become several words, or none: globs, braces, expansions without quotes."""
    names: frozenset[str] = frozenset()
    """Variables whose values are in it."""
    computed: bool = False
    """Whether the output of a command is in it."""

    @property
    def known(self) -> bool:
        """Whether the text is all of it."""
        return not self.open and HIDDEN not in self.text

    @property
    def head(self) -> str:
        """The text up to the first part that is not known."""
        if self.known:
            return self.text
        return re.split(r"[\0*?\[{]", self.text, maxsplit=1)[0]


ANY = Word(HIDDEN, open=True, computed=True)
"""A word, or several, of which nothing is known."""


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    shape: str
    """The text with what is quoted made harmless: decides on globs and braces."""
    names: frozenset[str] = frozenset()
    computed: bool = False
    splits: bool = False


class Cook:
    """Makes words of nodes; hands on the programs that are inside of them."""

    def __init__(self, source: bytes, inside: Callable[[Node], None], doubt: Callable[[str], None]) -> None:
        self._source = source
        self._inside = inside
        self._doubt = doubt

    def raw(self, node: Node) -> str:
        """Return the node's text as it is written."""
        return self._source[node.start_byte : node.end_byte].decode()

    def word(self, node: Node) -> Word:
        """Return the word that a node is."""
        pieces = self._pieces(node)
        shape = "".join(piece.shape for piece in pieces)
        return Word(
            text="".join(piece.text for piece in pieces),
            open=any(piece.splits for piece in pieces) or bool(_OPEN.search(shape)),
            names=frozenset[str]().union(*(piece.names for piece in pieces)),
            computed=any(piece.computed for piece in pieces),
        )

    def plain(self, raw: str) -> None:
        """See that a text in which the grammar finds no expansion has none."""
        if _EXPANDING.search(_ESCAPED.sub("", raw)):
            self._doubt("a text has an expansion that is not understood")

    def splitting(self, node: Node) -> set[str]:
        """Return the variables that stand in `[ … ]` without quotes: they may bring operators, which evaluate words."""
        found: set[str] = set()
        ahead = list(node.named_children)
        while ahead:
            each = ahead.pop()
            if each.type in ("simple_expansion", "expansion"):
                names = [self.raw(child) for child in each.named_children[:1] if child.type in _VARIABLES]
                found |= {f"${name}" if name[0] in "0123456789@*" else name for name in names if name not in "?#$!-"}
            elif each.type not in ("string", "command_substitution"):
                ahead += each.named_children
        return found

    def expanded(self, node: Node, start: int, end: int) -> Word:
        """Return the text between two places of a node in which only expansions mean something."""
        pieces = self._spliced(node, start, end)
        return Word(
            "".join(piece.text for piece in pieces),
            names=frozenset[str]().union(*(piece.names for piece in pieces)),
            computed=any(piece.computed for piece in pieces),
        )

    def _pieces(self, node: Node) -> list[_Piece]:
        kind = node.type
        if kind == "concatenation":
            return self._joined(node)
        if kind in _PLAIN and not node.children:
            raw = self.raw(node)
            if _PARTING.search(_ESCAPED.sub("", raw)):
                self._doubt(f"{raw[:40]!r} may be more than one word")
            return [_plain(raw)]
        if kind == "raw_string":
            return [_quoted(self.raw(node)[1:-1])]
        if kind == "ansi_c_string":
            return [_quoted(_unescaped(self.raw(node)[2:-1]))]
        if kind == "string":
            return self._spliced(node, node.start_byte + 1, node.end_byte - 1)
        return [self._expansion(node)]

    def _joined(self, node: Node) -> list[_Piece]:
        found: list[_Piece] = []
        place = node.start_byte
        for child in node.children:
            if child.start_byte != place:
                self._doubt("a word has a gap")
            place = child.end_byte
            found += self._pieces(child)
        return found

    def _spliced(self, node: Node, start: int, end: int) -> list[_Piece]:
        found: list[_Piece] = []
        for child in node.named_children:
            if child.type in ("string_content", "heredoc_content"):
                continue
            found.append(self._text(start, child.start_byte))
            inner = self._expansion(child)
            found.append(_Piece(inner.text, "q", inner.names, inner.computed))
            start = child.end_byte
        found.append(self._text(start, end))
        return found

    def _text(self, start: int, end: int) -> _Piece:
        """Return what is written between two expansions."""
        raw = self._source[start:end].decode()
        self.plain(raw)
        return _quoted(_in_double_quotes(raw))

    def _expansion(self, node: Node) -> _Piece:
        match node.type:
            case "simple_expansion" | "expansion":
                return self._variable(node)
            case "command_substitution" | "process_substitution":
                self._inside(node)
                return _Piece(HIDDEN, HIDDEN, computed=True, splits=node.type == "command_substitution")
            case "arithmetic_expansion":
                self._inside(node)
                return _Piece(HIDDEN, HIDDEN)
            case "brace_expression":
                return _Piece(self.raw(node), self.raw(node), splits=True)
            case _:
                self._doubt(f"{self.raw(node)[:40]!r} cannot be told to be a word")
                return _Piece(HIDDEN, HIDDEN, computed=True, splits=True)

    def _variable(self, node: Node) -> _Piece:
        names = [self.raw(child) for child in node.named_children if child.type in _VARIABLES]
        whole = len(node.named_children) == 1 and len(node.children) == (2 if node.type == "simple_expansion" else 3)
        if node.type == "expansion":
            if any(child.type in _SETTING for child in node.children):
                self._doubt(f"{self.raw(node)[:40]!r} sets a variable")
            if any(child.type in _RISKY_EXPANSION for child in node.children):
                self._doubt(f"{self.raw(node)[:40]!r} may run what a variable holds")
            self._inside(node)
        if whole and names and names[0] in _KNOWN_PLACES:
            return _quoted(_KNOWN_PLACES[names[0]])
        return _Piece(HIDDEN, HIDDEN, names=frozenset(names), splits=True)


def _plain(raw: str) -> _Piece:
    if "\\" not in raw:
        return _Piece(raw, raw)
    raw = raw.replace("\\\n", "")
    return _Piece(re.sub(r"\\(.)", r"\1", raw, flags=re.DOTALL), re.sub(r"\\.", "q", raw, flags=re.DOTALL))


def _quoted(text: str) -> _Piece:
    return _Piece(text, "q")


def _in_double_quotes(raw: str) -> str:
    if "\\" not in raw:
        return raw
    return re.sub(r'\\([$`"\\\n])', lambda found: "" if found[1] == "\n" else found[1], raw)


def _unescaped(raw: str) -> str:
    """Return what `$'…'` stands for; what gives a control character is not followed."""

    def one(found: re.Match[str]) -> str:
        what = found[1]
        if what in _ESCAPES:
            return _ESCAPES[what]
        digits, radix = (what[1:], 16) if what[0] in "xuU" and len(what) > 1 else (what, 8)
        try:
            number = int(digits, radix)
        except ValueError:
            return HIDDEN
        ceiling = 0x110000 if what[0] in "uU" else 0x7F
        return chr(number) if 0x20 <= number < ceiling and not 0xD800 <= number < 0xE000 else HIDDEN

    return _ESCAPE.sub(one, raw)

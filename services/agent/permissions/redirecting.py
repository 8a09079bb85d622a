"""Reads redirections: which files a command reads and writes, and the text that it is fed."""

import re
from collections.abc import Callable

from services.agent.permissions.grammar import Node
from services.agent.permissions.options import listed
from services.agent.permissions.script import Finder
from services.agent.permissions.words import ANY, Cook, Word

WORDS = listed(
    "word string raw_string ansi_c_string concatenation number simple_expansion expansion command_substitution"
    " process_substitution arithmetic_expansion brace_expression"
)
"""Nodes that are words of a command."""
_WHOSE = "it cannot be told whether a number belongs to a redirection"
_WRITING = frozenset({">", ">>", ">|", "&>", "&>>", "<>", ">&"})


class Redirections:
    """The redirections of one program's text."""

    def __init__(self, finder: Finder, source: bytes, cook: Cook, inside: Callable[[Node], None]) -> None:
        self._finder = finder
        self._source = source
        self._cook = cook
        self._inside = inside

    def follow(self, node: Node, fed: Word | None) -> Word | None:
        """Note what a redirection reads or writes; return what standard input is then."""
        sign = next((child.type for child in node.children if not child.is_named), "")
        parts = [child for child in node.named_children if child.type != "file_descriptor"]
        number = next((child for child in node.children if child.type == "file_descriptor"), None)
        self._heed_number_before(node)
        if number is not None and not self._is_descriptor(number):
            self._finder.doubt(_WHOSE)
        if len(parts) != 1:
            self._finder.doubt("a redirection has more than one target")
            return fed
        if parts[0].type == "process_substitution":
            self._inside(parts[0])
            return ANY if sign == "<" else fed
        target = self._cook.word(parts[0])
        if sign in (">&", "<&") and (target.text.rstrip("-").isdigit() or target.text == "-"):
            return fed if node.children[0].type != "<&" else ANY
        if sign in _WRITING:
            self._finder.script.writes.append(target)
        elif sign not in ("<", "<&"):
            self._finder.doubt(f"a redirection is written {sign!r}")
        if sign in ("<", "<>", "<&"):
            self._finder.script.reads.append(target)
            if number is not None and int(self._cook.raw(number)) != 0:
                return fed
            return None if target.text == "/dev/null" else ANY
        return fed

    def _heed_number_before(self, node: Node) -> None:
        """The grammar takes some descriptors for a word of the command before."""
        if re.search(rb"(?:^|[ \t\n;&|()<>])[0-9]+$", self._source[: node.start_byte]):
            self._finder.doubt(_WHOSE)

    def _is_descriptor(self, node: Node) -> bool:
        before = self._source[max(0, node.start_byte - 1) : node.start_byte]
        return self._cook.raw(node).isdigit() and (not before or before in b" \t\n;&|()<>")

    def herestring(self, node: Node) -> Word:
        """Return the text that is fed."""
        self._heed_number_before(node)
        words = [self._cook.word(child) for child in node.named_children if child.type != "file_descriptor"]
        return words[0] if len(words) == 1 else ANY

    def document(self, node: Node) -> Word:
        """Return the text of a here-document."""
        self._heed_number_before(node)
        parts = {child.type: child for child in node.children}
        start, body, end = (parts.get(f"heredoc_{each}") for each in ("start", "body", "end"))
        if start is None or end is None:
            self._finder.doubt("a here-document has no end")
            return ANY
        mark = re.sub(r"['\"\\]", "", self._cook.raw(start))
        quoted = mark != self._cook.raw(start)
        begin = self._source.find(b"\n", start.end_byte) + 1
        lines = self._source[begin : end.end_byte].decode().split("\n")
        bare = [line.lstrip("\t") for line in lines] if "<<-" in parts else lines
        if bare.index(mark) != len(bare) - 1 if mark in bare else True:
            self._finder.doubt("the end of a here-document is not plain")
        if self._source[end.end_byte : end.end_byte + 1] not in (b"", b"\n"):
            self._finder.doubt("the end of a here-document is not plain")
        if quoted:
            return Word("\n".join(bare[:-1]) + "\n")
        if any(line.endswith("\\") for line in lines):
            self._finder.doubt("a here-document joins lines")
        if body is None:
            return Word("")
        return self._cook.expanded(body, begin, body.end_byte)

    def said(self, node: Node, fed: Word | None) -> Word:
        """Return what a command writes, if that is plain to see."""
        if node.type == "redirected_statement" and node.children[0].type == "command":
            documents = [child for child in node.children if child.type == "heredoc_redirect"]
            if documents and self._source[node.start_byte : node.children[0].end_byte].strip() == b"cat":
                return self.document(documents[0])
        if node.type != "command" or any(child.type.endswith("redirect") for child in node.children):
            return ANY
        words = [self._cook.word(child) for child in node.named_children[1:] if child.type in WORDS]
        name = self._cook.raw(node.named_children[0])
        if name == "cat" and not words and fed is not None:
            return fed
        if name not in ("echo", "printf") or not all(word.known for word in words):
            return ANY
        said = " ".join(word.text for word in words if not word.text.startswith("-"))
        return ANY if "\\" in said or (name == "printf" and "%" in said) else Word(said)

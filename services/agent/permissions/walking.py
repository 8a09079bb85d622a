"""Walks the tree of a shell program, and hands on each command with what it is fed."""

import re
from collections.abc import Iterator

from services.agent.permissions.grammar import Node
from services.agent.permissions.redirecting import WORDS, Redirections
from services.agent.permissions.script import Command, Finder
from services.agent.permissions.words import ANY, HIDDEN, Cook, Word

_BEFORE_COMMENT = frozenset(" \t\n;&|()<>")
_BLANK = re.compile(r"(?:[ \t\n]|\\\n)*")
_GROUPS = frozenset({
    "program", "subshell", "compound_statement", "if_statement", "elif_clause", "else_clause", "do_group",
    "while_statement", "negated_command", "test_command",
})  # fmt: skip
_INNER = frozenset({
    "binary_expression", "unary_expression", "postfix_expression", "parenthesized_expression", "ternary_expression",
    "test_operator", "variable_name", "special_variable_name", "number", "word", "string", "string_content",
    "raw_string", "ansi_c_string", "simple_expansion", "expansion", "concatenation", "regex", "extglob_pattern",
    "arithmetic_expansion", "subscript", "variable_assignment", "array", "brace_expression",
})  # fmt: skip
_CALCULATING = frozenset({
    "arithmetic_expansion", "subscript", "postfix_expression", "ternary_expression", "binary_expression",
    "unary_expression",
})  # fmt: skip
_COMPARING = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"})
_FOLLOWING = frozenset({"pipeline", "command", "list", "redirected_statement", "subshell", "compound_statement"})


class Walk:
    """One program's text."""

    def __init__(self, finder: Finder, source: bytes, *, depth: int, deepest: int) -> None:
        self._finder = finder
        self._source = source
        self._depth = depth
        self._deepest = deepest
        self._cook = Cook(source, self._inside, finder.doubt)
        self._redirections = Redirections(finder, source, self._cook, self._inside)

    def statement(self, node: Node, fed: Word | None = None) -> None:
        """Hand on the commands of a statement; each reads `fed` if it is given nothing else."""
        kind = node.type
        self._depth += 1
        if self._depth > self._deepest:
            self._finder.doubt("it is nested too deeply")
        elif kind == "command":
            self._command(node, fed)
        elif kind == "pipeline":
            self._pipeline(node, fed)
        elif kind == "redirected_statement":
            self._redirected(node, fed)
        elif kind == "comment":
            self._comment(node)
        elif kind in _GROUPS or kind == "list":
            self._group(node, fed)
        else:
            self._other(node, fed)
        self._depth -= 1

    def _other(self, node: Node, fed: Word | None) -> None:
        match node.type:
            case "function_definition":
                self._function(node, fed)
            case "for_statement" | "c_style_for_statement":
                self._loop(node, fed)
            case "case_statement" | "case_item":
                self._cases(node, fed)
            case "declaration_command" | "unset_command":
                self._declaration(node)
            case "variable_assignment":
                self._finder.command(Command((), (self._assignment(node),)), self._depth)
            case "variable_assignments":
                assigned = tuple(self._assignment(child) for child in node.named_children)
                self._finder.command(Command((), assigned), self._depth)
            case kind if kind in _INNER:
                self._inside(node)
            case kind:
                self._finder.doubt(f"it has a {kind.replace('_', ' ')}, which is not judged")

    def _group(self, node: Node, fed: Word | None) -> None:
        self._gaps(node)
        if node.type == "while_statement":
            self._finder.script.jumps = True
        if node.type == "test_command":
            if node.children[0].type == "[":
                self._finder.script.calculated |= self._cook.splitting(node)
            self._inside(node)
            return
        if node.type == "compound_statement" and node.children[0].type == "((":
            self._calculation(node)
        for child in _flat(node):
            if child.type == "&":
                self._finder.forks()
            if child.is_named:
                self.statement(child, fed)

    def _pipeline(self, node: Node, fed: Word | None) -> None:
        self._gaps(node)
        self._finder.forks()
        for child in node.children:
            if child.type == "comment":
                self._comment(child)
            elif child.is_named:
                self.statement(child, fed)
                fed = self._redirections.said(child, fed)

    def _redirected(self, node: Node, fed: Word | None) -> None:
        self._gaps(node, inline=True)
        copied = self._source[node.start_byte : node.children[0].end_byte].strip() == b"cat"
        for child in node.children:
            if child.type == "file_redirect":
                fed = self._redirections.follow(child, fed)
            elif child.type == "herestring_redirect":
                fed = self._redirections.herestring(child)
            elif child.type == "heredoc_redirect":
                fed = self._heredoc(child, copied=copied)
            elif child.type == "comment" or not child.is_named:
                self._finder.doubt("a redirection is not where it should be")
        body = node.children[0]
        if not body.type.endswith("redirect"):
            self.statement(body, fed)

    def _heredoc(self, node: Node, *, copied: bool) -> Word:
        """Return the document; commands on the line of its beginning are handed on."""
        document = self._redirections.document(node)
        piped = document if copied else ANY
        for child in node.children:
            if child.type == "file_redirect":
                self._redirections.follow(child, None)
            elif child.type in _FOLLOWING:
                self.statement(child, piped if child.type == "pipeline" else None)
            elif child.type not in ("<<", "<<-", "heredoc_start", "heredoc_body", "heredoc_end", "&&", "||"):
                self._finder.doubt("the line of a here-document goes on in a way that is not judged")
        return document

    def _command(self, node: Node, fed: Word | None) -> None:
        assigned: list[tuple[str, Word]] = []
        words: list[Word] = []
        place = node.start_byte
        inner = fed
        for child in node.children:
            apart = place != node.start_byte and child.type in WORDS
            self._gap(place, child.start_byte, words_apart=apart, inline=True)
            place = child.end_byte
            if child.type == "variable_assignment":
                assigned.append(self._assignment(child))
            elif child.type == "command_name":
                words.append(self._cook.word(child.children[0]))
            elif child.type == "file_redirect":
                inner = self._redirections.follow(child, inner)
            elif child.type == "herestring_redirect":
                inner = self._redirections.herestring(child)
            elif child.type in WORDS:
                words.append(self._cook.word(child))
            else:
                self._finder.doubt(f"{self._cook.raw(child)[:40]!r} stands where it is not understood")
        # which of two redirections is the last cannot be told here
        fed = inner if inner is fed or fed is None else ANY
        self._finder.command(Command(tuple(words), tuple(assigned), fed), self._depth)

    def _assignment(self, node: Node) -> tuple[str, Word]:
        target, *rest = node.named_children
        if target.type != "variable_name":
            self._finder.doubt("it sets a part of a variable, whose place may run commands")
            self._inside(target)
        name = self._cook.raw(target).partition("[")[0]
        if not (name.isascii() and name.isidentifier()):
            self._finder.doubt(f"{name[:40]!r} is no name of a variable")
        if not rest:
            return name, Word("")
        if rest[0].type == "array":
            places = [self._cook.raw(child) for child in rest[0].named_children if self._cook.raw(child)[:1] == "["]
            if not all(re.match(r"\[[0-9]+\]\+?=", place) for place in places):
                self._finder.doubt("the place of a variable is evaluated, which may run commands")
            words = [self._cook.word(child) for child in rest[0].named_children if child.type in WORDS]
            for word in words:
                self._finder.bind(name, word)
            return name, Word(HIDDEN, computed=any(word.computed for word in words))
        return name, self._cook.word(rest[0])

    def _declaration(self, node: Node) -> None:
        words = [Word(self._cook.raw(node.children[0]))]
        for child in node.named_children:
            if child.type == "variable_assignment":
                name, value = self._assignment(child)
                words.append(Word(f"{name}={value.text}", value.open, value.names, value.computed))
            elif child.type == "variable_name":
                words.append(Word(self._cook.raw(child)))
            else:
                words.append(self._cook.word(child))
        self._finder.command(Command(tuple(words)), self._depth)

    def _function(self, node: Node, fed: Word | None) -> None:
        name, *rest = node.named_children
        self._finder.enter(self._cook.raw(name))
        for child in rest:
            if child.type == "file_redirect":
                fed = self._redirections.follow(child, fed)
            elif child.type == "herestring_redirect":
                fed = self._redirections.herestring(child)
        for child in rest:
            if not child.type.endswith("_redirect"):
                self.statement(child, ANY if fed is None else fed)
        self._finder.leave()

    def _loop(self, node: Node, fed: Word | None) -> None:
        self._finder.script.jumps = True
        name = ""
        for child in node.named_children:
            if child.type == "variable_name" and not name:
                name = self._cook.raw(child)
            elif child.type in ("do_group", "compound_statement"):
                self.statement(child, fed)
            elif child.type in WORDS and node.type == "for_statement":
                self._finder.command(Command((), ((name, self._cook.word(child)),)), self._depth)
            elif child.type == "comment":
                self._comment(child)
            else:
                self._calculation(child)
                self._inside(child)

    def _cases(self, node: Node, fed: Word | None) -> None:
        for child in node.named_children:
            if child.type in WORDS or child.type in _INNER:
                self._inside(child)
            else:
                self.statement(child, fed)

    def _inside(self, node: Node) -> None:
        """Hand on the programs that are inside of words and expressions."""
        ahead = [(node, False)]
        while ahead:
            each, tests = ahead.pop()
            if each.type in ("command_substitution", "process_substitution"):
                self._substitution(each)
                continue
            if each.is_named and each.type not in _INNER and each.type != "test_command":
                self.statement(each, None)
                continue
            if not each.children and each.type not in ("raw_string", "ansi_c_string"):
                self._cook.plain(self._cook.raw(each))
            tests = tests or each.type == "test_command"
            if self._calculates(each, tests=tests):
                self._calculation(each)
            ahead += [(child, tests) for child in each.children if child.is_named]

    def _calculates(self, node: Node, *, tests: bool) -> bool:
        """Return whether a node is evaluated as arithmetic, in which variables may run what they hold."""
        if not tests or node.type not in ("binary_expression", "unary_expression"):
            return node.type in _CALCULATING or any(child.type == ":" for child in node.children)
        operators = {self._cook.raw(child) for child in node.children if child.type == "test_operator"}
        return bool(operators & _COMPARING)

    def _substitution(self, node: Node) -> None:
        text = self._source[node.start_byte : node.end_byte]
        if text[:1] == b"`" and b"\\" in text:
            self._finder.doubt("backquotes with backslashes between them are read twice")
        self._depth += 1
        if self._depth > self._deepest:
            self._finder.doubt("it is nested too deeply")
        else:
            for child in node.named_children:
                self.statement(child, ANY if text[:2] == b">(" else None)
        self._depth -= 1

    def _calculation(self, node: Node) -> None:
        text = self._cook.raw(node)
        if "[" in text.removeprefix("$["):
            self._finder.doubt("it calculates with a subscript, which may run commands")
        self._finder.script.calculated |= set(re.findall(r"(?<![\w#])[A-Za-z_][A-Za-z0-9_]*|\$[0-9@*]", text))

    def _comment(self, node: Node) -> None:
        """A blank that is escaped belongs to a word, and so does what follows it."""
        before = self._source[: node.start_byte].decode()
        if before and (before[-1] not in _BEFORE_COMMENT or before[-2:-1] == "\\"):
            self._finder.doubt("it cannot be told where a comment begins")

    def _gaps(self, node: Node, *, inline: bool = False) -> None:
        place = node.start_byte if node.type != "program" else 0
        for child in node.children:
            self._gap(place, child.start_byte, words_apart=False, inline=inline)
            place = child.end_byte
        if node.type == "program":
            self._gap(place, len(self._source), words_apart=False)

    def _gap(self, start: int, end: int, *, words_apart: bool, inline: bool = False) -> None:
        between = self._source[start:end].decode()
        blank = between.replace("\\\n", "")
        if not _BLANK.fullmatch(between) or (words_apart and not blank) or (inline and "\n" in blank):
            self._finder.doubt("something between two words is not understood")


def _flat(node: Node) -> Iterator[Node]:
    """Yield the children of a node, those of lists in it included: lists may be nested thousands deep."""
    ahead = list(reversed(node.children))
    while ahead:
        child = ahead.pop()
        if child.type == "list":
            ahead += reversed(child.children)
        else:
            yield child

"""Calls of the shell: judged by every command in their text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from natscope.contracts.approval import Rule
from services.agent.permissions import places
from services.agent.permissions.dangers import dangers
from services.agent.permissions.edits import edited, written
from services.agent.permissions.harmless import only_reads
from services.agent.permissions.options import listed
from services.agent.permissions.patterns import Line, line_pattern, matches_path
from services.agent.permissions.reading import HARMLESS, Reader
from services.agent.permissions.script import GAP, Command, Script
from services.agent.permissions.subjects import EDITORS, Match, of, strongest
from services.agent.permissions.suggesting import for_commands, for_path
from services.agent.permissions.unwrapping import unwrap
from services.agent.permissions.words import Word

SHELLS = {"execute_shell": "command"}
"""Tools that run shell text, and the argument that it is in."""
_SHOWN = 120
_NUMBERS = listed("RANDOM SRANDOM SECONDS LINENO COLUMNS LINES UID EUID PPID BASHPID SHLVL EPOCHSECONDS")
"""Variables of the shell that hold numbers alone; others may hold what the program was given or has read."""


@dataclass(frozen=True)
class ShellCall:
    """One program's text."""

    tool: str
    text: str
    script: Script

    @cached_property
    def danger(self) -> str:
        """Why it is dangerous."""
        return "; ".join(dangers(self.script))

    @cached_property
    def unclear(self) -> str:
        """Why it cannot be told what runs."""
        unsure = [*self.script.doubts]
        if self._calculates_unseen:
            unsure.append("it calculates with what is known only when it runs")
        return "; ".join(unsure)

    @cached_property
    def reads(self) -> bool:
        """Whether every command only reads, and nothing is written."""
        if self.unclear or self.danger or self.script.elsewhere or not self._is_all_in_sight:
            return False
        return not self._writes and all(only_reads(each, self._tainted) for each in self._judged)

    def speaks_of(self, rule: Rule) -> Match:
        """A rule that asks or denies speaks of a program if it speaks of any command in it, or of a file it writes."""
        found: list[Match] = []
        if of([rule], self.tool):
            found.append(self._line_match(rule.pattern))
        if of([rule], *EDITORS):
            found.extend(self._path_match(rule.pattern, word) for word in self._changed)
            if rule.pattern and any(self._path_match(rule.pattern, word) == "yes" for word in self._named):
                found.append("maybe")
        return strongest(found)

    def is_covered(self, rules: Sequence[Rule], folders: Sequence[str] | None) -> bool:
        """Every command must only read, edit inside the folders, or be allowed by a rule; every written file, too."""
        mine = of(rules, self.tool)
        if self.unclear:
            return False
        if any(not rule.pattern or rule.pattern.strip() == self.text.strip() for rule in mine):
            return True
        return not any(True for _ in self._open_commands(mine, folders)) and not any(
            True for _ in self._open_writes(rules, folders)
        )

    def suggestions(self, rules: Sequence[Rule]) -> list[Rule]:
        """At most five rules; none where no rule could help."""
        if self.danger or self.unclear:
            return []
        commands = for_commands(self.tool, self._open_commands(of(rules, self.tool), None))
        paths = [each for word in self._open_writes(rules, None) if word.known for each in for_path(self._lead(word))]
        return list({rule.model_dump_json(): rule for rule in (*commands, *paths)}.values())[:5]

    def what(self) -> str:
        """The beginning of the text."""
        text = " ".join(self.text.split())
        return f"`{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}`"

    @cached_property
    def _tainted(self) -> frozenset[str]:
        return self.script.tainted()

    @cached_property
    def _ways(self) -> list[str] | None:
        return places.ways(self.script)

    @cached_property
    def _judged(self) -> list[Command]:
        return [command for command in self.script.commands if not command.wraps]

    @cached_property
    def _writes(self) -> list[Word]:
        return [word for word in self.script.writes if not (word.known and places.is_no_file(word.text))]

    @cached_property
    def _changed(self) -> list[Word]:
        return [*self._writes, *(word for command in self.script.commands for word in written(command))]

    @cached_property
    def _named(self) -> list[Word]:
        """What commands that do more than read may take for a path, also behind an option's sign."""
        acting = (each for each in self._judged if not only_reads(each, self._tainted))
        words = [word for each in acting for word in each.words[1:] if word.known]
        behind = [Word(found[1]) for word in words if (found := re.match(r"(?:-\w|-.*?=)(.+)", word.text, re.DOTALL))]
        return [*words, *behind, *self.script.mentions]

    @property
    def _is_all_in_sight(self) -> bool:
        """Whether no file is read whose name comes out of a command."""
        return not any(word.computed or word.names & self._tainted for word in self.script.reads)

    @property
    def _calculates_unseen(self) -> bool:
        """Whether a variable is evaluated that may hold a subscript: arithmetic runs the commands in it."""
        names = self.script.calculated
        values = (value for values in self.script.bound.values() for value in values)
        risky = any("[" in value.text or "`" in value.text or "$" in value.text for value in values)
        foreign = any(name[:1] in "$_" or (name.upper() == name and name not in _NUMBERS) for name in names)
        return bool(names & self._tainted or (names and risky) or foreign)

    def _line_match(self, pattern: str) -> Match:
        if not pattern:
            return "yes"
        wanted = line_pattern(pattern)
        if wanted.matches(GAP.join(self.text.split())):
            return "yes"
        every = (*self.script.commands, *self.script.suspects)
        if any(wanted.matches(line) for command in every for line in _lines(command)):
            return "yes"
        if self.unclear or any(_may_match(wanted, command) for command in every):
            return "maybe"
        return "no"

    def _path_match(self, pattern: str, word: Word) -> Match:
        if not pattern:
            return "yes"
        paths = places.leads(word, self._ways)
        if paths is None:
            return "maybe"
        return "yes" if any(matches_path(pattern, path, anywhere=True) for path in paths) else "no"

    def _open_commands(self, mine: Sequence[Rule], folders: Sequence[str] | None) -> Iterator[Command]:
        patterns = [line_pattern(rule.pattern) for rule in mine if rule.pattern]
        for command in self._judged:
            if only_reads(command, self._tainted) and not self.script.elsewhere:
                continue
            if any(_covers(pattern, command) for pattern in patterns):
                continue
            if folders is None or not self._is_edit(command, folders):
                yield command

    def _open_writes(self, rules: Sequence[Rule], folders: Sequence[str] | None) -> Iterator[Word]:
        patterns = [rule.pattern for rule in of(rules, EDITORS[0])]
        for word in self._writes:
            inside = folders is not None and self._is_inside(word, folders)
            paths = None if inside else places.leads(word, self._ways)
            if inside or "" in patterns:
                continue
            if word.open or paths is None or not all(_any_path(patterns, path) for path in paths):
                yield word

    def _is_edit(self, command: Command, folders: Sequence[str]) -> bool:
        words = edited(command)
        return words is not None and all(self._is_inside(word, folders) for word in words)

    def _is_inside(self, word: Word, folders: Sequence[str]) -> bool:
        paths = places.leads(word, self._ways)
        return paths is not None and all(places.is_inside(path, folders) for path in paths)

    def _lead(self, word: Word) -> str:
        return (places.leads(word, self._ways) or [""])[0]


@lru_cache(maxsize=256)
def shell_call(tool: str, text: str) -> ShellCall:
    """Return the call of a shell with this text. The same text is read once."""
    reader = Reader(unwrap)
    reader.text(text, 0)
    return ShellCall(tool, text, reader.script)


def _any_path(patterns: Sequence[str], path: str) -> bool:
    return any(matches_path(pattern, path, anywhere=False) for pattern in patterns)


def _settings(command: Command, *, harmless: bool) -> list[str]:
    return [f"{name}={value.text}" for name, value in command.assigned if harmless or name not in HARMLESS]


def _lines(command: Command) -> Iterator[str]:
    """Yield a command as a rule that forbids may have it: by its name, its path, with its variables."""
    yield command.line
    rest = [word.text for word in command.words[1:]]
    first = command.words[0].text
    yield GAP.join((first.rpartition("/")[2], *rest))
    if first.rpartition("/")[2] in ("busybox", "toybox"):
        yield GAP.join(rest)
    if command.assigned:
        yield GAP.join((*_settings(command, harmless=True), command.line))


def _may_match(wanted: Line, command: Command) -> bool:
    known = command.known_line
    return known is not None and wanted.may_match(known)


def _covers(pattern: Line, command: Command) -> bool:
    """Return whether a rule that allows speaks of all of a command.

    Variables that others heed must be in the pattern; so must what says that program text follows.
    """
    lines = [GAP.join((*_settings(command, harmless=False), command.line))]
    if command.assigned:
        lines.append(GAP.join((*_settings(command, harmless=True), command.line)))
    if not any(pattern.matches(line) for line in lines):
        return False
    if not command.code_words:
        return True
    before = GAP.join(lines[0].split(GAP)[: command.code_words])
    return len(pattern.shapes[0][0]) >= len(before) + (command.code_words > len(command.words))

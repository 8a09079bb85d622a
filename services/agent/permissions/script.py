"""What is known of a shell program before it runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from services.agent.permissions.words import HIDDEN, Word

GAP = "\1"
"""Stands between two words of a line; no word can hold it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command, wherever in the program it stands."""

    words: tuple[Word, ...]
    assigned: tuple[tuple[str, Word], ...] = ()
    """Variables that are set for this command alone."""
    fed: Word | None = None
    """What it reads from standard input; None: nothing that this program gives it."""
    wraps: bool = False
    """Whether it only runs other commands, which are judged in its stead."""
    code_words: int = 0
    """If it runs program text of another language: how many of its words come before that text."""

    @property
    def name(self) -> str:
        """The program's name without the folders that programs are in; empty if it is not known."""
        return bare(self.words[0].text) if self.words and self.words[0].known else ""

    @property
    def line(self) -> str:
        """The words as one text, in which patterns are looked for."""
        return GAP.join((self.name or self.words[0].text, *(word.text for word in self.words[1:])))

    @property
    def known_line(self) -> str | None:
        """The line up to the first part that is not known; None if all of it is."""
        for place, word in enumerate(self.words):
            if not word.known:
                before = [each.text for each in self.words[:place]]
                return GAP.join([*(map(bare, before[:1])), *before[1:], word.head])
        return None


@dataclass
class Script:
    """The commands of a program, and what else it does."""

    commands: list[Command] = field(default_factory=list[Command])
    suspects: list[Command] = field(default_factory=list[Command])
    """Commands that may be run by what is not understood: enough to forbid, not to allow."""
    writes: list[Word] = field(default_factory=list[Word])
    """Files that redirections write."""
    reads: list[Word] = field(default_factory=list[Word])
    mentions: list[Word] = field(default_factory=list[Word])
    """What programs in other languages may take for paths."""
    doubts: list[str] = field(default_factory=list[str])
    """Why it cannot be told what runs."""
    dangers: list[str] = field(default_factory=list[str])
    moves: list[Word] = field(default_factory=list[Word])
    """Folders that it goes to."""
    jumps: bool = False
    """Whether parts of it may run in another order than they are written in, or several times."""
    elsewhere: bool = False
    """Whether `git` is told to work in another repository than that of the folder."""
    runs_input: bool = False
    """Whether a shell or an interpreter runs what comes out of another command."""
    bound: dict[str, list[Word]] = field(default_factory=dict[str, list[Word]])
    """Values that variables are given."""
    calculated: set[str] = field(default_factory=set[str])
    """Variables that are evaluated as arithmetic, which may run what they hold."""

    def tainted(self) -> frozenset[str]:
        """Return the variables whose values come out of commands, files or arguments."""
        found = {name for name, values in self.bound.items() if any(value.computed for value in values)}
        while True:
            more = {
                name
                for name, values in self.bound.items()
                if name not in found and any(is_foreign(each, found) for value in values for each in value.names)
            }
            if not more:
                return frozenset(found)
            found |= more


class Finder(Protocol):
    """Who is told what is found in a program."""

    script: Script

    def text(self, text: str, depth: int, fed: Word | None = None) -> None: ...
    def aside(self, text: str, depth: int) -> None: ...
    def wonder(self, what: Command | str, depth: int) -> None: ...
    def command(self, command: Command, depth: int) -> None: ...
    def doubt(self, why: str) -> None: ...
    def bind(self, name: str, value: Word) -> None: ...
    def forks(self) -> None: ...
    def enter(self, function: str) -> None: ...
    def leave(self) -> None: ...


def is_foreign(name: str, tainted: Iterable[str]) -> bool:
    """Return whether a variable may hold what this program does not show."""
    return name in tainted or name.isdigit() or name in "@*_"


def bare(program: str) -> str:
    """Return the name of a program that lies in one of the system's folders for programs."""
    for folder in ("/usr/local/bin/", "/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"):
        if program.startswith(folder) and "/" not in program[len(folder) :]:
            return program[len(folder) :]
    return program


def literal(*texts: str) -> tuple[Word, ...]:
    """Return known words."""
    return tuple(Word(text) for text in texts)


def texts(words: Iterable[Word]) -> list[str] | None:
    """Return the words' texts if all of them are known."""
    found = [word.text for word in words if word.known]
    return found if HIDDEN not in "".join(found) and len(found) == sum(1 for _ in words) else None

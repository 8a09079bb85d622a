"""Reads a shell program: finds every simple command in it, whatever it is inside of."""

import re
from collections.abc import Callable

from services.agent.permissions import grammar
from services.agent.permissions.grammar import Unreadable
from services.agent.permissions.options import listed
from services.agent.permissions.script import Command, Finder, Script
from services.agent.permissions.walking import Walk
from services.agent.permissions.words import Word

DEEPEST = 40
MOST_COMMANDS = 2_000
MOST_STEPS = 3_000
"""Words, and a few more for each command: more of them would hold up whoever waits."""
_COMMAND = 3

_STRANGE = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]")
"""Control characters, and blanks that a shell and a grammar do not take for the same."""
_RESERVED = listed(
    "{ } ! [[ ]] if then else elif fi case esac for select while until do done in function coproc"
)  # fmt: skip
HARMLESS = frozenset({
    "LANG", "LANGUAGE", "TZ", "TERM", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "COLUMNS", "LINES", "CI", "NODE_ENV",
    "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONHASHSEED", "DEBUG",
    "RUST_BACKTRACE", "RUST_LOG", "GIT_TERMINAL_PROMPT", "DEBIAN_FRONTEND", "OMP_NUM_THREADS", "MPLBACKEND",
    "LC_ALL", "LC_CTYPE", "LC_COLLATE", "LC_MESSAGES", "LC_NUMERIC", "LC_TIME", "GIT_OPTIONAL_LOCKS",
})  # fmt: skip
"""Variables that make no program run anything or go anywhere."""

Unwrap = Callable[[Finder, Command, int], None]


class Budget:
    """How much of a program is judged, in all that it may run."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self._left = steps

    def pays(self, steps: int) -> bool:
        """Return whether there was as much left."""
        self._left -= steps
        return self._left >= 0


class Reader:
    """Fills a `Script`. What a command runs in its turn is told by `unwrap`, which may call `text` and `command`."""

    def __init__(self, unwrap: Unwrap, budget: Budget | None = None) -> None:
        self.script = Script()
        self._budget = budget or Budget()
        self._unwrap = unwrap
        self._functions: list[str] = []
        self._calls: dict[str, set[str]] = {}
        self._forking: set[str] = set()

    def text(self, text: str, depth: int, fed: Word | None = None) -> None:
        """Add the commands of a program's text, which reads `fed`."""
        if depth > DEEPEST:
            self.doubt("it is nested too deeply")
            return
        if _STRANGE.search(text):
            self.doubt("it has characters that shells and people read differently")
            return
        try:
            source = text.encode()
            root = grammar.parse(source)
        except UnicodeEncodeError:
            self.doubt("it is no text")
        except Unreadable as error:
            self.doubt(str(error))
        else:
            Walk(self, source, depth=depth, deepest=DEEPEST).statement(root, fed)

    def aside(self, text: str, depth: int) -> None:
        """Take the commands of a text as suspects: something may run it as a program."""
        self.wonder(text, depth)

    def wonder(self, what: Command | str, depth: int) -> None:
        """Take a command, or a text, and what it runs in its turn, for suspects; only so many in all."""
        if not self._budget.pays(1):
            self.doubt("too much of it may be run by other programs")
            return
        other = Reader(self._unwrap, self._budget)
        if isinstance(what, str):
            other.text(what, depth + 1)
        else:
            other.command(what, depth + 1)
        self.script.suspects += other.script.commands + other.script.suspects
        self.script.dangers += other.script.dangers
        if not self._budget.pays(0):
            self.doubt("too much of it may be run by other programs")

    def command(self, command: Command, depth: int) -> None:
        """Add a command, and the commands that it runs."""
        spared = self._budget.pays(_COMMAND + len(command.words))
        if depth > DEEPEST or len(self.script.commands) >= MOST_COMMANDS or not spared:
            self.doubt("it has too many commands")
            return
        if not command.words:
            for name, value in command.assigned:
                self.bind(name, value)
            return
        if not command.words[0].known:
            self.doubt("the name of a command is known only when it runs")
        if command.name in _RESERVED:
            self.doubt(f"{command.name!r} is not where bash's grammar has it")
        for function in self._functions:
            self._calls.setdefault(function, set()).add(command.name)
        self._unwrap(self, command, depth)

    def doubt(self, why: str) -> None:
        """Note that it cannot be told what runs."""
        if why not in self.script.doubts:
            self.script.doubts.append(why)

    def bind(self, name: str, value: Word) -> None:
        """Note that a variable is given a value."""
        self.script.bound.setdefault(name, []).append(value)
        if not is_own(name):
            self.doubt(f"it sets {name!r}, which other programs may heed")

    def forks(self) -> None:
        """Note that the function that is being read starts several processes."""
        self._forking |= set(self._functions)

    def enter(self, function: str) -> None:
        """Note that the body of a function begins."""
        self._functions.append(function)
        self.script.jumps = True

    def leave(self) -> None:
        """Note that it has ended, and whether the function runs itself again and again."""
        function = self._functions.pop()
        reached: set[str] = set()
        ahead = {function}
        while ahead:
            ahead = {each for name in ahead for each in self._calls.get(name, ())} - reached
            reached |= ahead
        if function in reached and self._forking & reached:
            self.script.dangers.append(f"the function {function!r} starts itself without end")


def is_own(name: str) -> bool:
    """Return whether a variable is the program's own: setting it changes nothing for the programs it runs."""
    own = re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None
    return (own and not name.endswith("_proxy") and not name.startswith("npm_config")) or name in HARMLESS

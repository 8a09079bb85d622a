"""Shells with their text, and the shell's own commands that run text, set variables or change how others are run."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from services.agent.permissions.options import end, listed, options, value_of
from services.agent.permissions.script import Command, Finder, texts
from services.agent.permissions.words import ANY, HIDDEN, Word

_SHELL = options(
    "-a -b -e -f -h -i -l -m -n -p -r -s -t -u -v -x -B -C -E -H -P -T -D --login --norc --noprofile --posix"
    " --verbose --restricted --debugger --noediting",
    "-o -O +o +O",
)


_SETTINGS = listed(
    "allexport errexit nounset pipefail noglob noclobber noexec xtrace verbose posix errtrace functrace braceexpand"
)


def shell(finder: Finder, command: Command, depth: int) -> None:
    """`sh -c TEXT`, `sh FILE`, and `sh` that reads a program."""
    words = command.words
    place = next((place for place, word in enumerate(words) if place and _has_code(word)), None)
    before = words[: place if place is not None else len(words)]
    first = end(before, _SHELL) if _are_plain(before) else None
    _hand_down(finder, command)
    if place is None:
        _shell_reads(finder, command, first, depth)
        return
    rest = end(words, options("--"), place + 1) if first == len(before) else None
    if rest is None or rest >= len(words) or not words[rest].known:
        finder.script.commands.append(command)
        finder.doubt(f"the text that {command.name!r} runs is known only when it runs")
        finder.script.runs_input = True
        return
    finder.script.commands.append(replace(command, wraps=True))
    finder.text(words[rest].text, depth + 1, command.fed)


def _hand_down(finder: Finder, command: Command) -> None:
    """What is set for a command that runs a text is set for all that the text runs."""
    for name, value in command.assigned:
        finder.bind(name, value)


def _are_plain(words: Sequence[Word]) -> bool:
    """Return whether the settings after `-o` leave the meaning of what follows as it is."""
    named = [after for before, after in pairwise(words) if before.text[:1] in "-+" and before.text.endswith("o")]
    return all(word.text in _SETTINGS for word in named)


def _has_code(word: Word) -> bool:
    return word.text[:1] == "-" and word.text[1:2] != "-" and "c" in word.text


def _shell_reads(finder: Finder, command: Command, first: int | None, depth: int) -> None:
    words, fed = command.words, command.fed
    if first is None:
        finder.script.commands.append(command)
        finder.doubt(f"it cannot be told what {command.name!r} runs")
        finder.script.runs_input = True
        return
    file = words[first] if first < len(words) and not any(word.text == "-s" for word in words[1:first]) else None
    if file is not None and file.known and file.text != "-" and not file.text.startswith(("/dev/", "/proc/")):
        finder.script.commands.append(command)
        return
    if file is None and fed is None:
        finder.script.commands.append(command)
    elif file is None and fed is not None and fed.known:
        finder.script.commands.append(replace(command, wraps=True))
        finder.text(fed.text, depth + 1)
    else:
        finder.script.commands.append(command)
        finder.doubt(f"the program that {command.name!r} reads is known only when it runs")
        finder.script.runs_input = True


def evaluate(finder: Finder, command: Command, depth: int) -> None:
    """`eval`: its words are a program."""
    said = texts(command.words[1:])
    _hand_down(finder, command)
    finder.script.commands.append(replace(command, wraps=said is not None))
    if said is None:
        finder.doubt("what 'eval' runs is known only when it runs")
        finder.script.runs_input = True
    elif said:
        finder.text(" ".join(said[1:] if said[0] == "--" else said), depth + 1, command.fed)


def source(finder: Finder, command: Command, depth: int) -> None:
    """`source FILE`: the file runs in this shell."""
    finder.script.commands.append(command)
    _hand_down(finder, command)
    file = command.words[1] if len(command.words) > 1 else ANY
    if not file.known or file.text.startswith(("/dev/", "/proc/", "-")):
        finder.doubt("what 'source' reads is known only when it runs")
        finder.script.runs_input = True


def trap(finder: Finder, command: Command, depth: int) -> None:
    """`trap TEXT SIGNAL`: the text is a program."""
    words = command.words[1:]
    words = words[1:] if words and words[0].text == "--" else words
    finder.script.commands.append(replace(command, wraps=bool(words) and words[0].known))
    if words and not words[0].known:
        finder.doubt("what 'trap' runs is known only when it runs")
    elif words and words[0].text not in ("-", "-l", "-p", ""):
        finder.text(words[0].text, depth + 1)


def declare(finder: Finder, command: Command, depth: int) -> None:
    """`export`, `declare` and their kin: variables are set, for others too."""
    finder.script.commands.append(command)
    flags = "".join(word.text for word in command.words[1:] if word.text.startswith("-"))
    exported = command.name == "export" or "x" in flags
    if any(letter in flags for letter in "nif"):
        finder.doubt(f"it uses {command.name!r} in a way that is not judged")
    for word in command.words[1:]:
        name, sign, value = word.text.partition("=")
        if HIDDEN in name or "[" in name:
            finder.doubt("the name of a variable is known only when it runs")
        elif sign:
            finder.bind(name.removesuffix("+"), replace(word, text=value))
            finder.script.calculated |= word.names
            if value.startswith("(") or (set(flags) & {"a", "A"} and (word.names or word.computed)):
                finder.doubt(f"the value of {name!r} may be an array, which is evaluated")
        if exported and not name.startswith("-") and name.upper() != name:
            finder.doubt(f"it hands {name!r} to other programs")


def fill(finder: Finder, command: Command, depth: int) -> None:
    """`read`, `mapfile`, `getopts`: variables get what comes in."""
    finder.script.commands.append(command)
    for word in command.words[1:]:
        if word.text.startswith("-") and word.known:
            if "C" in word.text and command.name != "read":
                finder.doubt(f"{command.name!r} runs a command for each line")
        elif not word.known or "[" in word.text:
            finder.doubt("the name of a variable is known only when it runs")
        elif word.text.isidentifier():
            finder.bind(word.text, ANY)


def write(finder: Finder, command: Command, depth: int) -> None:
    """`printf`: with `-v` it sets a variable."""
    finder.script.commands.append(command)
    name = value_of(command.words[:3], "-v")
    joined = [word for word in command.words[1:2] if word.text[:2] == "-v" and len(word.text) > 2]
    if joined or (name is not None and (not name.known or "[" in name.text)):
        finder.doubt("the name of a variable is known only when it runs")
    elif name is not None:
        finder.bind(name.text, ANY)


def calculate(finder: Finder, command: Command, depth: int) -> None:
    """`let`, `test`, `unset`: what is between brackets is evaluated, and may run commands."""
    finder.script.commands.append(command)
    asks = command.name in ("test", "[")
    words = command.words[1:]
    looks = [word for word, after in pairwise((*words, Word("]"))) if _may_look(word, after)]
    sure = not asks or any(word.known for word in looks)
    if (sure or looks) and any("[" in word.text or (sure and HIDDEN in word.text) for word in words):
        finder.doubt(f"{command.name!r} evaluates what is known only when it runs")
    elif asks:
        finder.script.calculated |= {name for word in (words if looks else ()) for name in word.names}
    if command.name == "let":
        finder.doubt("'let' evaluates variables")


def _may_look(word: Word, after: Word) -> bool:
    """Return whether a word of `test` may be `-v`, which evaluates the place of a variable that comes after it."""
    if word.known or "-v".find(word.head) != 0:
        return word.text in ("-v", "-R")
    return word.open or not after.known or "[" in after.text


def await_children(finder: Finder, command: Command, depth: int) -> None:
    """`wait`: with `-p` it sets a variable, and evaluates its place."""
    finder.script.commands.append(command)
    words = command.words[1:]
    if any(re.match("-[a-z]*p", word.text) or "[" in word.text for word in words):
        finder.doubt("'wait' sets a variable")
    finder.script.calculated |= {name for word in words for name in word.names if name != "!"}


def tamper(finder: Finder, command: Command, depth: int) -> None:
    """`alias`, `enable`, `hash`, …: what a name stands for changes."""
    finder.script.commands.append(command)
    if len(command.words) > 1:
        finder.doubt(f"{command.name!r} changes what commands mean")


def set_options(finder: Finder, command: Command, depth: int) -> None:
    """`set`: harmless options, or new arguments."""
    finder.script.commands.append(command)
    known = options("-e -u -x -v -f -a -b -n +e +u +x +v +f -E -T - +", "-o +o")
    place = end(command.words, known)
    if place is None or not _are_plain(command.words[1:place]):
        finder.doubt("it changes how the shell reads commands")
    elif place != len(command.words) and any(not word.known for word in command.words):
        finder.doubt("the arguments it gives itself are known only when it runs")


def go(finder: Finder, command: Command, depth: int) -> None:
    """`cd`, `pushd`: relative paths lead elsewhere."""
    finder.script.commands.append(command)
    words = [word for word in command.words[1:] if word.text not in ("-L", "-P", "--", "-e")]
    finder.script.moves.append(words[0] if words else Word("~"))


BUILTINS: dict[str, Callable[[Finder, Command, int], None]] = {
    **dict.fromkeys(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish", "yash", "csh", "tcsh"), shell),
    "eval": evaluate,
    "source": source,
    ".": source,
    "trap": trap,
    **dict.fromkeys(("export", "declare", "typeset", "local", "readonly"), declare),
    **dict.fromkeys(("read", "mapfile", "readarray", "getopts"), fill),
    "printf": write,
    **dict.fromkeys(("let", "test", "[", "unset"), calculate),
    **dict.fromkeys(("alias", "enable", "hash", "bind", "complete", "compgen", "shopt", "coproc", "fc"), tamper),
    "set": set_options,
    "wait": await_children,
    **dict.fromkeys(("cd", "pushd", "popd", "chdir"), go),
}

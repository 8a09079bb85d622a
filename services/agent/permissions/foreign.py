"""Programs in other languages that a command line brings along: `python -c`, `perl -e`, `awk`, `sed`."""

import re
from collections.abc import Sequence
from dataclasses import replace

from services.agent.permissions.options import end, listed, options
from services.agent.permissions.script import Command, Finder
from services.agent.permissions.words import HIDDEN, Word

_CODE: dict[str, tuple[str, frozenset[str]]] = {
    "python": ("c", frozenset()),
    "pypy": ("c", frozenset()),
    "perl": ("eE", frozenset()),
    "ruby": ("e", frozenset()),
    "node": ("ep", frozenset({"--eval", "--print"})),
    "nodejs": ("ep", frozenset({"--eval", "--print"})),
    "bun": ("e", frozenset({"--eval"})),
    "deno": ("", frozenset({"eval"})),
    "php": ("rBRE", frozenset({"--run"})),
    "lua": ("e", frozenset()),
    "luajit": ("e", frozenset()),
    "Rscript": ("e", frozenset()),
    "julia": ("eE", frozenset({"--eval", "--print"})),
    "osascript": ("e", frozenset()),
    "tclsh": ("", frozenset()),
    "groovy": ("e", frozenset()),
    "sqlite3": ("", frozenset({"-cmd"})),
    "gdb": ("", frozenset({"-ex", "-eval-command"})),
    "vim": ("c", frozenset({"--cmd"})),
    "ex": ("c", frozenset()),
    "emacs": ("", frozenset({"--eval", "--execute"})),
}
_TALKING = listed("python pypy perl ruby node nodejs php lua luajit Rscript julia tclsh deno bun ex ed")
"""Those that run what they read when no file is named."""
_VERSIONED = re.compile(r"(python|pypy|perl|ruby|lua|php|tclsh|node)[0-9][0-9.]*w?")
_AWKS = frozenset({"awk", "gawk", "mawk", "nawk", "busybox awk"})
_AWK_RISKS = re.compile(r"system\s*\(|\||getline|>|@|ARGV|ENVIRON|PROCINFO|fflush|close\s*\(")
_SED_COMMAND = re.compile(
    r"\s*(?:(?:\d+|\$|/(?:[^/\\\n]|\\.)*/I?)(?:\s*,\s*(?:[+~]?\d+|\$|/(?:[^/\\\n]|\\.)*/I?))?\s*)?!?\s*"
    r"(?:[pdqQnNDGHhxglP=]\s*\d*|y(?P<y>[/|,#:@])(?:(?!(?P=y))[^\\\n])*(?P=y)(?:(?!(?P=y))[^\\\n])*(?P=y)"
    r"|s(?P<s>[/|,#:@])(?:(?!(?P=s))[^\\\n]|\\.)*(?P=s)(?:(?!(?P=s))[^\\\n]|\\.)*(?P=s)[gpiIm0-9]*)?\s*(?:;|\n|$)",
)
_PARTING_BRACKET = re.compile(r"\[[^]]?[^]\n]*[/|,#:@;]")
"""Some `sed`s take such a sign between brackets for itself, others for the end of the expression."""
_STRINGS = re.compile(r"'((?:[^'\\]|\\.){2,})'|\"((?:[^\"\\]|\\.){2,})\"|`([^`]{2,})`", re.DOTALL)
_MOST_STRINGS = 64
_PUNCTUATION = re.compile(r"[\[\](){},;'\"`\s]+")


def foreign(finder: Finder, command: Command, depth: int) -> None:
    """Add a command, and what can be seen of the program text it brings along."""
    name = command.name
    versioned = _VERSIONED.fullmatch(name)
    name = versioned[1] if versioned else name
    if name in _AWKS:
        _awk(finder, command, depth)
    elif name in ("sed", "gsed"):
        _sed(finder, command)
    elif name in _CODE or name in _TALKING:
        _interpreter(finder, command, name, depth)
    else:
        finder.script.commands.append(command)


def _interpreter(finder: Finder, command: Command, name: str, depth: int) -> None:
    letters, longs = _CODE.get(name, ("", frozenset[str]()))
    words = command.words
    for place, word in enumerate(words[1:], 1):
        found = _code_in(word, letters, longs)
        if found is None:
            if not word.text.startswith("-") or word.text in ("-", "--", "-m"):
                break
            continue
        code = words[place + 1].text if found == "" and place + 1 < len(words) else found
        finder.script.commands.append(replace(command, code_words=place + 1))
        look_into(finder, code, depth)
        return
    named = any(not word.text.startswith("-") for word in words[1:]) and name not in ("ed", "ex")
    named = named or _only_tells(name, words)
    if name not in _TALKING or command.fed is None or named or "-m" in [word.text for word in words]:
        finder.script.commands.append(command)
    elif command.fed.known:
        finder.script.commands.append(replace(command, code_words=max(2, len(words))))
        look_into(finder, command.fed.text, depth)
    else:
        finder.script.commands.append(command)
        finder.doubt(f"the program that {command.name!r} reads is known only when it runs")
        finder.script.runs_input = True


_TELLING = ("--version", "-V", "-v", "--help", "-h")
_GOING_ON = {"python": ("-v",), "pypy": ("-v",), **dict.fromkeys(("tclsh", "ex", "ed"), _TELLING)}
"""Options after which a program yet runs what it reads."""


def _only_tells(name: str, words: Sequence[Word]) -> bool:
    return len(words) == 2 and words[1].text in _TELLING and words[1].text not in _GOING_ON.get(name, ())


def _code_in(word: Word, letters: str, longs: frozenset[str]) -> str | None:
    """Return the text that an option brings along, empty if it is in the next word; None if it brings none."""
    name, sign, value = word.text.partition("=")
    if name in longs:
        return value if sign else ""
    if word.text[:1] != "-" or word.text[1:2] == "-":
        return None
    for place, letter in enumerate(word.text[1:], 1):
        if letter in letters:
            return word.text[place + 1 :]
        if not letter.isalnum():
            return None
    return None


def look_into(finder: Finder, code: str, depth: int) -> None:
    """Take for suspects what a program in any language could be seen to run: its strings, and lists of them."""
    for found in list(_STRINGS.finditer(code))[:_MOST_STRINGS]:
        text = next(part for part in found.groups() if part is not None)
        if not re.search(r"\s", text):
            finder.script.mentions.append(Word(text))
        finder.aside(text.replace("\\n", "\n").replace('\\"', '"').replace("\\'", "'"), depth + 8)
    words = [word for word in _PUNCTUATION.split(code.replace(HIDDEN, " ")) if word][:2048]
    for place, word in enumerate(words):
        if re.sub(r".*[.:/]", "", word) in _FEARED or word in _FEARED:
            line = (re.sub(r".*/", "", word), *words[place + 1 : place + 12])
            finder.script.suspects.append(Command(tuple(Word(each) for each in line)))
    if re.search(r"rmtree\W+(?:/|~|\.\.?)['\"]|rmSync\W+/['\"]|rm_rf\W+/['\"]", code):
        finder.script.dangers.append("it removes a root folder")


_FEARED = listed("rm mkfs dd shutdown reboot halt poweroff wipefs fdisk chmod chown")


def _awk(finder: Finder, command: Command, depth: int) -> None:
    finder.script.commands.append(command)
    place = end(command.words, _AWK_OPTIONS)
    program = command.words[place] if place is not None and place < len(command.words) else None
    if program is None or not program.known or _AWK_RISKS.search(program.text):
        finder.doubt("the awk program may run commands or write files")
        for word in command.words[1:]:
            look_into(finder, word.text, depth)


_AWK_OPTIONS = options("-P --posix -s --sandbox -S", "-F -v --assign --field-separator")


def _sed(finder: Finder, command: Command) -> None:
    finder.script.commands.append(command)
    scripts = sed_scripts(command)
    if scripts is None or not all(is_plain_sed(script) for script in scripts):
        finder.doubt("the sed script may run commands or write files")
        for script in scripts or ():
            finder.script.suspects += [Command((Word(word), *map(Word, rest))) for word, *rest in _tails(script)]


def sed_scripts(command: Command) -> list[str] | None:
    """Return the scripts that a `sed` command is given; None if they cannot be told."""
    words = command.words
    found: list[Word] = []
    plain: list[Word] = []
    place = 1
    while place < len(words):
        word = words[place]
        place += 1
        if not word.text.startswith("-") or word.text == "-":
            plain.append(word)
            continue
        value = _sed_script_in(word)
        if value is None:
            return None
        if value == HIDDEN:
            continue
        if value:
            found.append(replace(word, text=value))
        elif place < len(words):
            found.append(words[place])
            place += 1
    found = found or plain[:1]
    return [word.text for word in found] if all(word.known for word in found) else None


def _sed_script_in(word: Word) -> str | None:
    """Return the script in an option: empty if it is the next word, `HIDDEN` if none, None if the option is strange."""
    text = word.text
    if text.startswith("--"):
        name, _, value = text.partition("=")
        if name == "--expression":
            return value
        return HIDDEN if name in _SED_OPTIONS and word.known else None
    for place, letter in enumerate(text[1:], 1):
        if letter == "e":
            return text[place + 1 :]
        if letter == "i":
            return HIDDEN
        if letter not in "nErsuz":
            return None
    return HIDDEN if word.known else None


_SED_OPTIONS = frozenset({
    "--quiet", "--silent", "--posix", "--regexp-extended", "--separate", "--null-data", "--unbuffered", "--debug",
    "--sandbox", "--in-place",
})  # fmt: skip


def is_plain_sed(script: str) -> bool:
    """Return whether a `sed` script only prints, deletes and replaces."""
    if _PARTING_BRACKET.search(script):
        return False
    place = 0
    while place < len(script):
        found = _SED_COMMAND.match(script, place)
        if found is None or found.end() == place:
            return False
        place = found.end()
    return True


def _tails(script: str) -> list[list[str]]:
    words = [word for word in re.split(r"[\s;/|]+", script) if word]
    return [
        words[place : place + 8] for place, word in enumerate(words) if word.lstrip("e") in _FEARED or word in _FEARED
    ]

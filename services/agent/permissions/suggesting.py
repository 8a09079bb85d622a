"""Rules to suggest, so that a person need not be asked again about what is alike."""

import re
from collections.abc import Iterable

from natscope.contracts.approval import Rule
from services.agent.permissions.options import listed
from services.agent.permissions.reading import HARMLESS
from services.agent.permissions.script import Command
from services.agent.permissions.subjects import EDITORS, allowing

MOST = 5
_SINGLE = listed(
    "rm rmdir mv cp ln chmod chown kill sudo doas su env bash sh zsh dash eval source . curl wget ssh scp dd tee sed"
    " touch mkdir perl ruby node php lua awk xargs find cat echo crontab"
)
"""Programs whose second word is no name of what they do."""


def for_commands(tool: str, commands: Iterable[Command]) -> list[Rule]:
    """Return at most five rules: two words and whatever follows, or the exact line where two words say too little."""
    found: dict[str, Rule] = {}
    for command in commands:
        if any(name not in HARMLESS for name, _ in command.assigned):
            continue
        pattern = prefix_of(command) or exactly(command)
        if pattern and len(found) < MOST:
            found.setdefault(pattern, allowing(tool, pattern))
    return list(found.values())


def prefix_of(command: Command) -> str | None:
    """Return the first two words as a pattern (`git commit:*`), if the second names what is done."""
    if len(command.words) < 2 or command.code_words or command.name in _SINGLE or not command.name:
        return None
    second = command.words[1]
    named = re.fullmatch(r"[a-z][a-z0-9:_-]*|-m", second.text) and second.known
    if not named or not re.fullmatch(r"[A-Za-z0-9_.+-]+", command.name):
        return None
    return f"{command.name} {second.text}:*"


def exactly(command: Command) -> str | None:
    """Return the whole line as a pattern that means nothing else; None if not all of it is known."""
    if not all(word.known for word in command.words):
        return None
    return " ".join(map(_escaped, (command.name, *(word.text for word in command.words[1:]))))


def for_path(path: str) -> list[Rule]:
    """Return a rule for the folder of a path inside the workspace, or for the file if it is at the top."""
    if not path or path.startswith(("/", "~", "..")):
        return []
    folder = path.rpartition("/")[0]
    return [allowing(EDITORS[0], f"{folder}/**" if folder else _glob_escaped(path))]


def _escaped(word: str) -> str:
    """Return a word as a pattern has to have it."""
    if word and re.fullmatch(r"[A-Za-z0-9_@%+=:,./~^-]+", word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def _glob_escaped(path: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", path)

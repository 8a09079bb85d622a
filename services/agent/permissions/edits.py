"""Commands that do nothing but change files, and the files that they change."""

from collections.abc import Sequence

from services.agent.permissions.foreign import is_plain_sed, sed_scripts
from services.agent.permissions.options import Options, end, listed, options, value_of
from services.agent.permissions.script import Command
from services.agent.permissions.words import Word

_EDITORS: dict[str, Options] = {
    "mkdir": options("-p -v --parents --verbose", "-m --mode"),
    "touch": options("-a -c -m -h --no-create", "-d --date -t"),
    "rm": options("-f -i -I -v -d --force --verbose --dir --interactive"),
    "rmdir": options("-p -v --parents --verbose"),
    "mv": options("-f -i -n -v -u -T --force --no-clobber --verbose --update", "-t --target-directory"),
    "cp": options("-r -R -a -p -f -i -n -v -u -T -d --recursive --archive --force --verbose --no-clobber", "-t"),
    "tee": options("-a -i -p --append"),
}
_WRITERS = listed("ln install rsync truncate shred unlink split csplit patch chmod chown chgrp setfacl unzip")


def edited(command: Command) -> Sequence[Word] | None:
    """Return the paths that an editing command names; None if it is none, or is used in an uncommon way."""
    name = command.name
    if command.assigned:
        return None
    if name == "sed":
        return _sed(command)
    known = _EDITORS.get(name)
    place = end(command.words, known) if known is not None else None
    if place is None:
        return None
    paths = list(command.words[place:])
    if any((word.text.startswith("-") and word.text != "-") or not word.head for word in paths):
        return None
    target = value_of(command.words[1:place], "-t", "--target-directory")
    return [*paths, target] if target is not None else paths


def _sed(command: Command) -> Sequence[Word] | None:
    scripts = sed_scripts(command)
    if scripts is None or not all(map(is_plain_sed, scripts)):
        return None
    flags = [word.text for word in command.words[1:] if word.text.startswith("-")]
    if any(flag not in ("-i", "-e", "-n", "-E", "-r", "-ne", "-ni", "-Ei", "-i.bak", "--in-place") for flag in flags):
        return None
    rest = [word for word in command.words[1:] if not word.text.startswith("-") and word.text not in scripts]
    return rest if all(word.head for word in rest) else None


def written(command: Command) -> Sequence[Word]:
    """Return the words of a command that name what it changes, as far as that can be seen."""
    name, words = command.name, command.words[1:]
    if name == "dd":
        return [Word(word.text[3:], word.open, word.names) for word in words if word.text.startswith("of=")]
    if name in ("sort", "gcc", "cc", "clang", "ld", "curl", "tree", "objcopy"):
        found = value_of(words, "-o", "--output")
        return [found] if found is not None else []
    if name in ("wget", "tar"):
        found = value_of(words, "-O", "-P", "-C", "--output-document", "--directory")
        return [found] if found is not None else []
    if name in _EDITORS or name in _WRITERS or (name in ("sed", "perl") and _in_place(words)):
        return [word for word in words if not word.text.startswith("-")]
    return []


def _in_place(words: Sequence[Word]) -> bool:
    return any(word.text.startswith(("-i", "-pi", "-ni", "-Ei", "-ri", "--in-place")) for word in words)

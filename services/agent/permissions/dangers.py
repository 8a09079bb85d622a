"""What no rule may wave through: removing roots, writing devices, opening doors, stopping machines, reading secrets."""

import re
from collections.abc import Iterable, Iterator, Sequence

from services.agent.permissions import places
from services.agent.permissions.edits import written
from services.agent.permissions.options import listed
from services.agent.permissions.script import Command, Script, bare
from services.agent.permissions.words import HIDDEN, Word

_FETCHERS = listed("curl wget fetch aria2c http https lynx nc ncat netcat socat ftp tftp scp sftp telnet")
_DECODERS = listed("base64 base32 xxd openssl uudecode gunzip zcat bzcat xzcat rev tr gpg")
_STOPPERS = listed("shutdown reboot halt poweroff telinit")
_FORMATTERS = listed("fdisk sfdisk cfdisk gdisk parted wipefs mkswap blkdiscard lvremove vgremove")
_MASTERS = listed(
    "mount umount insmod modprobe rmmod nsenter useradd usermod userdel groupmod passwd chpasswd visudo iptables"
    " nft swapoff kexec debugfs setcap"
)
_REMOVERS = listed("rm rmdir unlink shred srm trash")
_TALKERS = listed("echo printf")


def dangers(script: Script) -> tuple[str, ...]:
    """Return what is dangerous about a program, each in words for people; nothing if nothing is."""
    found = dict.fromkeys(script.dangers)
    ways = places.ways(script)
    for command in (*script.commands, *script.suspects):
        if not command.wraps:
            found |= dict.fromkeys(_of_command(_plain_named(command), ways))
    found |= dict.fromkeys(_of_files(script, ways))
    found |= dict.fromkeys(_of_downloads(script))
    return tuple(found)


def _plain_named(command: Command) -> Command:
    """Return the command under its program's bare name, wherever that program lies."""
    if not command.words or not command.words[0].known:
        return command
    name = command.words[0].text.rpartition("/")[2]
    words = command.words[1:]
    if name in ("busybox", "toybox") and words:
        name, words = words[0].text, words[1:]
    return Command((Word(name), *words), command.assigned, command.fed)


def _of_command(command: Command, ways: list[str] | None) -> Iterator[str]:
    name, words = command.name, command.words[1:]
    if name in _REMOVERS:
        yield from _removal(words, ways)
    elif name in ("chmod", "chown", "chgrp", "setfacl"):
        yield from _opening(name, words, ways)
    elif name in ("kill", "killall", "pkill", "skill"):
        yield from _killing(name, words)
    elif name in ("find", "gfind"):
        yield from _clearing(command, ways)
    elif name == "mkfs" or name.startswith("mkfs.") or name in _FORMATTERS:
        yield f"{name!r} formats a device"
    elif name in _STOPPERS or (name == "init" and words and words[0].text in "0156"):
        yield f"{name!r} stops the machine"
    elif name == "systemctl" and any(word.text in (*_STOPPERS, "kexec", "emergency", "rescue") for word in words):
        yield "'systemctl' stops the machine"
    elif name in _MASTERS or (
        name == "sysctl" and any(word.text.startswith("-w") or "=" in word.text for word in words)
    ):
        yield f"{name!r} changes the machine"
    elif name in ("crontab", "at", "batch") and not any(word.text in ("-l", "-V") for word in words):
        yield f"{name!r} makes something run later"


def _removal(words: Sequence[Word], ways: list[str] | None) -> Iterator[str]:
    options = [word.text for word in words if word.text.startswith("-")]
    deep = any(re.match(r"-[a-zA-Z]*[rR]|--r", option) for option in options)
    if any(option.startswith("--no-p") for option in options):
        yield "it removes a root folder"
    for word in words:
        if word.text.startswith("-") and word.known:
            continue
        paths = places.leads(word, ways)
        if paths is None:
            beginning = word.head
            if deep and (
                beginning in ("", "/", "~/", "../") or (beginning.startswith("/") and places.is_system(beginning))
            ):
                yield "it cannot be told which folder it removes"
        elif any(_is_root(path, deep=deep) for path in paths):
            yield f"it removes {word.text[:60]!r}"


def _is_root(path: str, *, deep: bool) -> bool:
    if path == "." or (path.startswith("~/") and not path.endswith("*")):
        return deep and places.is_system(path)
    return places.is_system(path)


def _opening(name: str, words: Sequence[Word], ways: list[str] | None) -> Iterator[str]:
    plain = [word for word in words if not word.text.startswith("-") or word.text.startswith("-rwx")]
    if not plain:
        return
    mode, targets = plain[0].text, plain[1:]
    deep = any(re.match(r"-[a-zA-Z]*R|--rec", word.text) for word in words)
    everybody = re.search(r"^[0-7]*[0-7]{2}[2367]$|^[0-7]?777$|(?:^|,)(?:[ug]*[oa][ugoa]*|)[+=][rx]*w", mode)
    if name == "chmod" and everybody:
        yield "it lets everybody write"
    if name == "chmod" and re.search(r"^0*[2-7][0-7]{3}$|[+=][rwx]*s", mode):
        yield "it makes a program run with its owner's rights"
    for word in targets:
        paths = places.leads(word, ways)
        if deep and ((paths is None and word.head in ("", "/", "~/")) or (paths and any(map(places.is_system, paths)))):
            yield f"it changes the rights of everything below {word.text.replace(HIDDEN, '…')[:60]!r}"


def _killing(name: str, words: Sequence[Word]) -> Iterator[str]:
    targets = [word.text for word in words]
    if (name == "kill" and ("-1" in targets[1:] or "1" in targets or targets == ["-1"] or "0" in targets[1:])) or (
        name in ("killall", "pkill", "skill") and any(text in (".", ".*", "-u", "--user", "-U") for text in targets)
    ):
        yield "it kills every process"


def _clearing(command: Command, ways: list[str] | None) -> Iterator[str]:
    texts = [word.text for word in command.words]
    removing = "-delete" in texts or any(bare(text) in _REMOVERS for text in texts)
    for word in command.words[1:]:
        if word.text.startswith(("-", "(", "!")):
            return
        paths = places.leads(word, ways)
        if removing and (paths is None or any(path != "." and places.is_system(path) for path in paths)):
            yield f"it removes files below {word.text.replace(HIDDEN, '…')[:60]!r}"


def _of_files(script: Script, ways: list[str] | None) -> Iterator[str]:
    changed = list(script.writes)
    for command in (*script.commands, *script.suspects):
        changed += written(_plain_named(command))
    for word in (*_filled(changed, script), *script.mentions):
        yield from _change(word, ways, mentioned=word in script.mentions)
    for word in _filled(_read(script), script):
        for path in _paths_in(word, ways):
            if places.is_secret(path):
                yield f"{path[:60]!r} may hold secrets"


def _filled(words: Iterable[Word], script: Script) -> Iterator[Word]:
    """Yield the words, and those with a single variable as they are when it has a value that is known."""
    for word in words:
        yield word
        if len(word.names) == 1 and not word.computed:
            values = [value for value in script.bound.get(next(iter(word.names)), ()) if value.known]
            yield from (Word(word.text.replace(HIDDEN, value.text)) for value in values[:_MOST_VALUES])


_MOST_VALUES = 8


def _change(word: Word, ways: list[str] | None, *, mentioned: bool) -> Iterator[str]:
    for path in _paths_in(word, ways):
        if places.is_no_file(path):
            continue
        if places.is_starting(path):
            yield f"what is written to {path[:60]!r} is run or heeded later"
        elif places.is_secret(path):
            yield f"{path[:60]!r} may hold secrets"
        elif places.is_shared(path) and not mentioned:
            yield f"{path[:60]!r} belongs to the system"


def _read(script: Script) -> Iterator[Word]:
    yield from script.reads
    for values in script.bound.values():
        yield from values
    for command in (*script.commands, *script.suspects):
        if command.name in _TALKERS or command.wraps:
            continue
        if command.name == "find" and not any(word.text.startswith("-exec") for word in command.words):
            yield from [word for word in command.words[1:] if "/" in word.text]
            continue
        yield from command.words


def _paths_in(word: Word, ways: list[str] | None) -> Iterator[str]:
    """Yield the paths that a word may mean, also those behind an option's or an address's sign."""
    text = word.text.replace(HIDDEN, "*")
    for part in {text, *re.split(r"[=:@,]", text)} if re.search("[=:@,]", text) else (text,):
        if part and len(part) < 4096:
            for folder in ways or [""]:
                yield places.normal(part, folder)


def _of_downloads(script: Script) -> Iterator[str]:
    names = {command.name for command in (*script.commands, *script.suspects)}
    if script.runs_input and names & _FETCHERS:
        yield "it runs what it fetches from the network"
    elif script.runs_input and names & _DECODERS:
        yield "it runs text that is written so that it cannot be read"
    fetched = {
        word.text.rpartition("/")[2]
        for command in script.commands
        if command.name in _FETCHERS
        for word in command.words[1:]
        if word.known
    }
    for command in script.commands:
        if command.name not in _FETCHERS and not command.wraps and command.words[0].known:
            first = command.words[0].text
            runs = [first] if "/" in first else [word.text for word in command.words[1:3] if _runs_files(command.name)]
            if any(each.rpartition("/")[2] in fetched for each in runs if each):
                yield "it runs what it fetches from the network"


def _runs_files(name: str) -> bool:
    return bool(re.fullmatch(r"(?:ba|da|z|k|a)?sh|source|\.|python[0-9.]*|perl|ruby|node|php", name))

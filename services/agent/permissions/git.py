"""What `git` runs: pagers, editors, aliases and hooks that its options name."""

import re
from dataclasses import replace

from services.agent.permissions.options import end, options, value_of
from services.agent.permissions.script import Command, Finder
from services.agent.permissions.words import Word

GLOBAL = options(
    "-p --paginate -P --no-pager --bare --no-replace-objects --literal-pathspecs --glob-pathspecs --icase-pathspecs"
    " --noglob-pathspecs --no-optional-locks --no-lazy-fetch --no-advice -v --version -h --help --html-path --man-path"
    " --info-path",
    "-C -c --git-dir --work-tree --namespace --super-prefix --config-env --exec-path --attr-source --list-cmds",
)
_ELSEWHERE = ("-C", "--git-dir", "--work-tree", "--exec-path", "--config-env")
_HARMLESS_KEYS = re.compile(
    r"(?:color|advice|user|column|log|format|status|i18n|author|committer|init|push|pull|fetch|merge|rebase|branch)\.\w+"
    r"|core\.(?:quotepath|autocrlf|eol|safecrlf|filemode|ignorecase|abbrev|precomposeunicode)|safe\.directory"
    r"|diff\.(?:renames|renamelimit|algorithm|context|noprefix|mnemonicprefix|wserrorhighlight)|http\.\w+",
    re.IGNORECASE,
)
_RUNNING = {
    "rebase": ("-x", "--exec"),
    "difftool": ("-x", "--extcmd"),
    "clone": ("-u", "--upload-pack"),
    "fetch": ("--upload-pack",),
    "pull": ("--upload-pack",),
    "ls-remote": ("--upload-pack", "--exec"),
    "push": ("--receive-pack", "--exec"),
    "archive": ("--exec",),
    "filter-branch": ("--tree-filter", "--index-filter", "--msg-filter", "--env-filter", "--commit-filter"),
    "send-email": ("--smtp-server", "--to-cmd", "--cc-cmd", "--sendmail-cmd"),
}
"""Options of subcommands whose value is run by a shell."""


def git(finder: Finder, command: Command, depth: int) -> None:
    """Add a `git` command, and what it is told to run."""
    finder.script.commands.append(command)
    words = command.words
    place = end(words, GLOBAL)
    if place is None or (place < len(words) and not words[place].known):
        finder.doubt("it cannot be told what 'git' is to do")
        return
    _configured(finder, words[1:place], depth)
    if place >= len(words):
        return
    plain = Command((words[0], *words[place:]), command.assigned, command.fed)
    if place > 1:
        finder.script.suspects.append(plain)
    _subcommand(finder, plain, depth)


def _configured(finder: Finder, before: tuple[Word, ...], depth: int) -> None:
    for place, word in enumerate(before):
        if word.text.startswith("-c") and not word.text.startswith("--"):
            setting = (
                before[place + 1]
                if word.text == "-c" and place + 1 < len(before)
                else replace(word, text=word.text[2:])
            )
            _setting(finder, setting, depth)
        elif word.text.partition("=")[0] in ("--exec-path", "--config-env") and word.text != "--exec-path":
            finder.doubt(f"'git {word.text[:40]}' changes what 'git' runs")
        elif word.text.startswith(_ELSEWHERE[:3]):
            finder.script.elsewhere = True


def _setting(finder: Finder, setting: Word, depth: int) -> None:
    key, _, value = setting.text.partition("=")
    if setting.known and _HARMLESS_KEYS.fullmatch(key):
        return
    finder.doubt(f"the setting {key[:60]!r} may make 'git' run something")
    if setting.known:
        finder.aside(value.removeprefix("!"), depth)


def _subcommand(finder: Finder, command: Command, depth: int) -> None:
    name, rest = command.words[1].text, command.words[2:]
    for option in _RUNNING.get(name, ()):
        value = value_of(rest, option)
        if value is not None:
            _run(finder, value, depth)
    if name == "clone":
        _clones_with(finder, rest, depth)
    if any(word.text.startswith("ext::") for word in rest):
        finder.doubt("an address names a command that 'git' is to run")
    if name == "config" and len(rest) > 1:
        _writes_settings(finder, rest, depth)
    elif name == "grep" and any(word.text.startswith(("-O", "--open")) for word in rest):
        finder.doubt("'git grep' opens a pager")
    elif name == "bisect" and rest and rest[0].text == "run" and len(rest) > 1:
        finder.command(Command(rest[1:]), depth + 1)
    elif name == "submodule" and "foreach" in [word.text for word in rest]:
        place = [word.text for word in rest].index("foreach") + 1
        said = [word for word in rest[place:] if word.text != "--recursive"]
        _run(finder, Word(" ".join(word.text for word in said), open=not all(word.known for word in said)), depth)


def _clones_with(finder: Finder, rest: tuple[Word, ...], depth: int) -> None:
    for place, word in enumerate(rest):
        if word.text in ("-c", "--config") and place + 1 < len(rest):
            _setting(finder, rest[place + 1], depth)
        elif word.text.startswith(("-c", "--config=")):
            _setting(finder, replace(word, text=word.text.removeprefix("--config=").removeprefix("-c")), depth)


def _run(finder: Finder, value: Word, depth: int) -> None:
    if value.known:
        finder.text(value.text, depth + 1)
    else:
        finder.doubt("what 'git' runs is known only when it runs")


def _writes_settings(finder: Finder, rest: tuple[Word, ...], depth: int) -> None:
    reading = any(word.text in ("--get", "--get-all", "--list", "-l", "--get-regexp", "get", "list") for word in rest)
    named = [word for word in rest if not word.text.startswith("-") and word.text not in ("set", "unset")]
    if not reading and len(named) > 1:
        _setting(finder, Word(f"{named[0].text}={named[1].text}", not named[0].known or not named[1].known), depth)

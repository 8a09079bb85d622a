"""Finds the commands that a command runs: wrappers, shells with their text, `find -exec`, and what is like them."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise

from services.agent.permissions.foreign import foreign
from services.agent.permissions.git import git
from services.agent.permissions.options import Options, end, ends_run, listed, options, value_of
from services.agent.permissions.script import Command, Finder, texts
from services.agent.permissions.shell_builtins import BUILTINS, shell
from services.agent.permissions.words import ANY, HIDDEN, Word

Unwrapping = Callable[[Finder, Command, int], None]

_WRAPPERS: dict[str, tuple[Options, int]] = {
    "nohup": (options(), 0),
    "nice": (options(" ".join(f"-{n}" for n in range(20)), "-n --adjustment"), 0),
    "time": (options("-p -v -a --verbose --append --portability", "-f --format"), 0),
    "timeout": (options("-v --verbose --foreground --preserve-status -f -p", "-s --signal -k --kill-after"), 1),
    "stdbuf": (options("", "-i -o -e --input --output --error"), 0),
    "setsid": (options("-c -f -w --ctty --fork --wait"), 0),
    "ionice": (options("-t --ignore", "-c --class -n --classdata"), 0),
    "taskset": (options("-c --cpu-list -a"), 1),
    "chrt": (options("-f -r -o -b -i"), 1),
    "command": (options("-p"), 0),
    "builtin": (options(), 0),
    "exec": (options("-c -l", "-a"), 0),
    "unbuffer": (options("-p"), 0),
    "caffeinate": (options("-d -i -m -s -u", "-t"), 0),
    "env": (
        options("-i - --ignore-environment -0 --null -v --debug", "-u --unset -C --chdir"), 0
    ),
    "xargs": (
        options(
            "-0 --null -r --no-run-if-empty -t --verbose -p --interactive -x --exit -o --open-tty",
            "-I --replace -i -n --max-args -P --max-procs -L --max-lines -l -d --delimiter -E -e -a --arg-file -s",
        ), 0,
    ),
}  # fmt: skip
_MASTERS: dict[str, Options] = {
    "sudo": options(
        "-A -b -E -e -H -K -k -n -P -S -v --preserve-env --non-interactive --stdin --set-home",
        "-u --user -g --group -C -D -h --host -p --prompt -R -r -t -T -U",
    ),
    "doas": options("-n -L", "-u -C"),
}
_RUNNERS = listed(
    "parallel entr ssh screen tmux script expect su runuser chroot nsenter unshare strace ltrace gdb"
    " valgrind start-stop-daemon systemd-run dbus-run-session flock setpriv firejail bwrap pkexec runcon"
    " daemonize at batch proot fakeroot rlwrap cpulimit prlimit numactl chpst runit busctl docker podman"
    " kubectl choom i386 x86_64 uname26 faketime eatmydata ssh-agent ip chronic ifne pee tini dumb-init gosu su-exec"
    " setuidgid s6-setuidgid envdir softlimit cgexec nsjail minijail0 watchexec nodemon concurrently direnv dotenv asdf"
    " mise nvm rbenv pyenv bfs rr coreutils rlfe dtach abduco"
)  # fmt: skip


_CARRIERS = listed(
    "tar bsdtar rsync scp sftp vim vi nvim view vimdiff rvim gvim ex ed man less more lldb sqlite3 psql mysql mariadb"
    " npx npm pnpm yarn bunx go cargo socat nc ncat netcat make gmake zip sort split xterm konsole gnome-terminal pwsh"
    " powershell capsh dpkg apt apt-get gcc g++ cc jobs run-parts crontab sg newgrp setarch linux32 linux64 xvfb-run"
    " sshpass autossh mosh torsocks proxychains hyperfine perf fish uv poetry pipenv conda bundle nix-shell tclsh"
    " ld-linux-x86-64.so.2 ld-linux-aarch64.so.1 ld.so fd fdfind dc"
)
"""Programs that an option or an argument may have run a command."""


def unwrap(finder: Finder, command: Command, depth: int) -> None:
    """Add a command to the script of `finder`, and all the commands that it is seen to run."""
    name = command.name
    _heed_variables(finder, command, depth)
    _heed_options(finder, command, depth)
    _other_names(finder, command, depth)
    if name in _RUNNERS or name in _CARRIERS:
        _suspect(finder, command, depth)
    if name in _WRAPPERS:
        _wrapper(finder, command, depth)
    elif name in _MASTERS:
        _master(finder, command, depth)
    elif name in _SPECIAL:
        _SPECIAL[name](finder, command, depth)
    else:
        foreign(finder, command, depth)


def _wrapper(finder: Finder, command: Command, depth: int) -> None:
    known, positionals = _WRAPPERS[command.name]
    words = command.words
    if command.name == "command" and len(words) > 1 and words[1].text in ("-v", "-V"):
        finder.script.commands.append(command)
        return
    place = end(words, known)
    if place is not None and command.name == "env" and place < len(words) and words[place].text == "-":
        place += 1
    assigned: list[tuple[str, Word]] = list(command.assigned)
    if place is not None and command.name in ("env", "time"):
        place, more = _assignments(words, place, named=command.name == "time")
        assigned += more
    if place is None:
        finder.script.commands.append(command)
        finder.doubt(f"it cannot be told what {command.name!r} runs")
        return
    _check_options(finder, command, words[1:place])
    place += positionals
    if place >= len(words):
        finder.script.commands.append(command)
        if command.name == "exec" and command.fed is not None:
            finder.doubt("what comes after 'exec' reads what is known only when it runs")
        return
    finder.script.commands.append(replace(command, wraps=True))
    inner = words[place:]
    fed = command.fed
    if command.name == "xargs":
        inner, fed = _with_more(words[1:place], inner), None
    finder.command(Command(inner, tuple(assigned), fed), depth + 1)


def _check_options(finder: Finder, command: Command, before: tuple[Word, ...]) -> None:
    for word in before:
        if command.name == "env" and word.text.startswith(("-C", "--chdir")):
            finder.script.moves.append(ANY)
        if command.name == "xargs" and word.text.startswith(("-a", "--arg-file")):
            finder.script.reads.append(ANY)


def _is_assignment(text: str, *, named: bool) -> bool:
    """`env` takes any text before the sign for a name, a shell does not."""
    name, sign, _ = text.partition("=")
    return bool(sign) and (name.removesuffix("+").isidentifier() or not named)


def _assignments(words: tuple[Word, ...], place: int, *, named: bool) -> tuple[int | None, list[tuple[str, Word]]]:
    found: list[tuple[str, Word]] = []
    while place < len(words) and _is_assignment(words[place].head, named=named):
        name, _, value = words[place].text.partition("=")
        found.append((name, replace(words[place], text=value)))
        place += 1
    if place < len(words) and not words[place].known:
        return None, found
    return place, found


def _with_more(before: tuple[Word, ...], inner: tuple[Word, ...]) -> tuple[Word, ...]:
    """Return the words of a command that `xargs` gives more of."""
    mark = value_of(before, "-I", "--replace")
    marks = (
        [mark.text] if mark is not None else [word.text[2:] or "{}" for word in before if word.text[:2] in ("-I", "-i")]
    )
    if not marks:
        return (*inner, ANY)
    return tuple(ANY if marks[0] in word.text else word for word in inner)


def _master(finder: Finder, command: Command, depth: int) -> None:
    """A command in another's name: both it and what it runs are judged."""
    finder.script.commands.append(command)
    place = end(command.words, _MASTERS[command.name])
    assigned: list[tuple[str, Word]] = []
    if place is not None:
        place, assigned = _assignments(command.words, place, named=False)
    if place is None or place >= len(command.words):
        finder.doubt(f"it cannot be told what {command.name!r} runs")
        return
    finder.command(Command(command.words[place:], tuple(assigned), command.fed), depth + 1)


def _find(finder: Finder, command: Command, depth: int) -> None:
    finder.script.commands.append(command)
    words = command.words
    place = 1
    while place < len(words):
        if words[place].text in ("-exec", "-execdir", "-ok", "-okdir"):
            begin = place + 1
            while place < len(words) and not ends_run(words[place - 1], words[place]):
                place += 1
            inner = tuple(Word(f"./{HIDDEN}") if "{}" in word.text else word for word in words[begin:place])
            if inner:
                finder.command(Command(inner), depth + 1)
        elif words[place].text in ("-fprint", "-fprint0", "-fls", "-fprintf") and place + 1 < len(words):
            finder.script.writes.append(words[place + 1])
        place += 1


def _fd(finder: Finder, command: Command, depth: int) -> None:
    finder.script.commands.append(command)
    for place, word in enumerate(command.words):
        if word.text in ("-x", "--exec", "-X", "--exec-batch"):
            inner = tuple(ANY if "{" in each.text else each for each in command.words[place + 1 :])
            if inner:
                finder.command(Command((*inner, ANY)), depth + 1)
            return


def _watch(finder: Finder, command: Command, depth: int) -> None:
    place = end(command.words, options("-b -c -d -e -g -t -x -p --color --no-title", "-n --interval"))
    said = texts(command.words[place:]) if place is not None else None
    finder.script.commands.append(replace(command, wraps=said is not None))
    if said is None:
        finder.doubt("it cannot be told what 'watch' runs")
    else:
        finder.text(" ".join(said), depth + 1)


def _suspect(finder: Finder, command: Command, depth: int) -> None:
    """What a program may take for a command: any words to the end, and the text in a word or after an option's sign."""
    for place in range(1, min(len(command.words), 2 * _LINE)):
        finder.wonder(Command(command.words[place : place + _LINE]), depth)
        word = command.words[place]
        if word.known:
            for mark in islice(_MARKS.finditer(word.text), _MOST_TEXTS):
                finder.wonder(word.text[mark.end() :].rstrip(")}"), depth)
    if command.fed is not None and command.fed.known:
        finder.wonder(re.sub(r"(?m)^[.:!]*(?:shell |system )? *", "", command.fed.text), depth)
    elif command.fed is not None and command.name == "parallel" and len(command.words) == 1:
        finder.doubt("what 'parallel' runs is known only when it runs")


_MARKS = re.compile(r"^(?:-[A-Za-z]|[.!:+\\]*(?:shell |system |spawn )?)|=|EXEC:|SYSTEM:|[!|] *|[({]shell ")
"""Behind what a word of such a program may have the text of a command."""
_MOST_TEXTS = 4
_LINE = 16


def _other_names(finder: Finder, command: Command, depth: int) -> None:
    """A program that lies elsewhere is judged as its namesake is, and what `busybox` is called with as that program."""
    words = command.words
    name = words[0].text.rpartition("/")[2].lstrip("=") if words[0].known else ""
    if name in ("busybox", "toybox"):
        words = words[1:]
    elif name == command.name:
        return
    if name and words:
        other = words[0].text.rpartition("/")[2].lstrip("=")
        finder.wonder(Command((Word(other), *words[1:]), command.assigned, command.fed), depth)
        if command.fed is not None and BUILTINS.get(other) is shell:
            finder.doubt(f"the program that {other!r} reads is known only when it runs")
            finder.script.runs_input = True


def _heed_variables(finder: Finder, command: Command, depth: int) -> None:
    """Variables that name a program to run are read as programs."""
    for name, value in command.assigned:
        if value.known and any(part in name for part in _RUNNING_VARIABLES):
            finder.aside(value.text.lstrip("|-@"), depth)


def _heed_options(finder: Finder, command: Command, depth: int) -> None:
    """Options that name a program to run, whichever program has them, are read as programs."""
    for word, after in pairwise((*command.words[:_LINE], Word(""))):
        option, sign, value = word.text.partition("=")
        program = replace(word, text=value) if sign else after
        if option in _RUNNING_OPTIONS and program.known:
            finder.wonder(program.text, depth)


_RUNNING_OPTIONS = listed("--pager --pre --hostname-bin")


_RUNNING_VARIABLES = ("PAGER", "EDITOR", "VISUAL", "COMMAND", "BROWSER", "LESSOPEN", "SHELL", "ASKPASS", "SSH", "ENV",
                      "DIFF", "CONFIG_VALUE")  # fmt: skip


_SPECIAL: dict[str, Unwrapping] = {
    "find": _find,
    "gfind": _find,
    "fd": _fd,
    "fdfind": _fd,
    "watch": _watch,
    "git": git,
    **BUILTINS,
}

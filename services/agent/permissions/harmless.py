"""Commands that only read, with the options under which they do."""

import re
from collections.abc import Callable, Sequence

from services.agent.permissions.foreign import is_plain_sed, sed_scripts
from services.agent.permissions.git_reading import git_reads
from services.agent.permissions.options import ends_run, listed
from services.agent.permissions.reading import HARMLESS
from services.agent.permissions.script import Command, is_foreign
from services.agent.permissions.words import Word

Check = Callable[[Sequence[Word]], bool]


def only_reads(command: Command, tainted: frozenset[str]) -> bool:
    """Return whether a command changes nothing, whatever its words turn out to be."""
    check = _CHECKS.get(command.name)
    if check is None or command.code_words or not all(name in HARMLESS for name, _ in command.assigned):
        return False
    if any(word.computed or any(is_foreign(name, tainted) for name in word.names) for word in command.words):
        return False
    return check(command.words[1:])


def without(words: Sequence[Word], letters: str, *names: str) -> bool:
    """Return whether none of these options is among the words, abbreviated ones and what may become one included."""
    for word in words:
        if not word.known and word.head in ("", "-", "--"):
            return False
        text = word.head
        if text.startswith("--"):
            option = text.partition("=")[0]
            if any(name.startswith(option) for name in names if len(option) > 2):
                return False
        elif text.startswith("-") and any(letter in text for letter in letters):
            return False
    return True


def _anything(words: Sequence[Word]) -> bool:
    return True


def _nothing_but(*allowed: str) -> Check:
    return lambda words: bool(words) and all(word.known and word.text in allowed for word in words)


def _alone(words: Sequence[Word]) -> bool:
    return not words


def _first_of(*allowed: str) -> Check:
    return lambda words: bool(words) and words[0].known and words[0].text in allowed


def _listing(first: str, allowed: frozenset[str]) -> Check:
    """Return a check of the first word, and that no option after it is any but these."""

    def check(words: Sequence[Word]) -> bool:
        if not words or words[0].text not in listed(first):
            return False
        return all(
            word.known and (not word.text.startswith("-") or word.text.partition("=")[0] in allowed) for word in words
        )

    return check


def _without(letters: str, *names: str) -> Check:
    return lambda words: without(words, letters, *names)


def _operands(most: int, letters: str = "", *names: str) -> Check:
    """Return a check that there are at most so many words that are no options."""

    def check(words: Sequence[Word]) -> bool:
        plain = [word for word in words if not word.head.startswith("-")]
        return len(plain) <= most and not any(word.open for word in plain) and without(words, letters, *names)

    return check


def _yq(words: Sequence[Word]) -> bool:
    """Its programs may load other files, and have others run."""
    plain = without(words, "is", "--inplace", "--in-place", "--split-exp", "--security-enable-system-operator")
    return plain and not any(re.search("load|system", word.text) for word in words)


_PIP = listed(
    "--version --format --outdated -o --uptodate -u --editable -e --local -l --user --not-required --files -f -v"
)
_NPM = listed("--version -v --depth --global -g --all -a --json --long -l --parseable -p --prod --production --dev")
_FINDING = listed(
    "-name -iname -path -ipath -wholename -regex -iregex -type -size -mtime -mmin -atime -ctime -newer"
    " -perm -user -group -maxdepth -mindepth -empty -print -print0 -printf -prune -not -and -or -a -o -L"
    " -H -P -follow -xdev -mount -ls -true -false -links -inum -samefile -readable -writable -executable"
    " -quit -depth -regextype -exec -execdir -amin -cmin -nouser -nogroup -daystart -noleaf -lname -ilname"
    " -xtype"
)


def _find(words: Sequence[Word]) -> bool:
    """`-exec` is fine here: what it runs is judged by itself."""
    inside, before = False, Word("")
    for word in words:
        if inside:
            inside = not ends_run(before, word)
            before = word
            continue
        if not word.known and not word.head.strip("-"):
            return False
        if word.text.startswith("-") and word.text not in _FINDING and not re.fullmatch(r"-\d+|-O[0-3]", word.text):
            return False
        inside = word.text in ("-exec", "-execdir")
    return True


def _sed(words: Sequence[Word]) -> bool:
    if not without(words, "iIfwW", "--in-place", "--file"):
        return False
    scripts = sed_scripts(Command((Word("sed"), *words)))
    return scripts is not None and all(map(is_plain_sed, scripts))


def _awk(words: Sequence[Word]) -> bool:
    """A program that might run or write something is doubted before it comes here."""
    return without(words, "fileE", "--file", "--include", "--load", "--exec", "--inplace")


def _pages(words: Sequence[Word]) -> bool:
    """Without a terminal a pager is `cat`; `+` begins a command."""
    options = [word.head for word in words if word.head[:1] in ("", "-", "+")]
    return all(re.fullmatch("-[NSRFXEe]+", option) for option in options)


def _date(words: Sequence[Word]) -> bool:
    plain = [word for word in words if not word.text.startswith(("+", "-"))]
    return without(words, "sf", "--set", "--file") and all("-d" in [each.text for each in words] for _ in plain)


def _versioned(name: str) -> Check:
    if name == "go":
        return _nothing_but("version")
    return _nothing_but("--version", "-V", "--help", *(() if name.startswith("python") else ("-v",)))


_READERS = (
    "ls cat head tail wc stat pwd whoami id uname basename dirname realpath readlink nl cut tr rev tac paste join comm"
    " expand unexpand fold fmt cmp diff du df echo true false : seq sleep md5sum sha1sum sha224sum sha256sum"
    " sha384sum sha512sum b2sum cksum sum strings od hexdump hd grep egrep fgrep zgrep zcat bzcat xzcat which whereis"
    " type nproc arch groups users who w uptime free lscpu lsblk ps pgrep pidof printenv factor expr numfmt column"
    " tsort base64 base32 locale getconf tty vmstat lsof jq pstree cal dir vdir"
    " cd pushd popd exit return break continue shift wait read local declare typeset readonly export unset set test ["
    " printf umask times let getopts mapfile readarray trap exec command eval"
)
_TELLING = listed(
    "python python3 node ruby perl php java javac go cargo rustc gcc g++ clang make cmake bash uv poetry"
    " yarn pnpm kubectl terraform psql sqlite3 ruff mypy"
)
_CHECKS: dict[str, Check] = {
    **dict.fromkeys(_READERS.split(), _anything),
    "find": _find,
    "gfind": _find,
    "sed": _sed,
    "gsed": _sed,
    "awk": _awk,
    "gawk": _awk,
    "mawk": _awk,
    "sort": _without("oT", "--output", "--compress-program", "--files0-from"),
    "uniq": _operands(1),
    "xxd": _operands(1, "r"),
    "tree": _without("oR", "--output"),
    "file": _without("C", "--compile"),
    "rg": _without("z", "--pre", "--hostname-bin", "--search-zip"),
    "less": _pages,
    "more": _pages,
    "yq": _yq,
    "date": _date,
    "hostname": lambda words: _alone(words) or _nothing_but("-f", "-s", "-i", "-I", "-d")(words),
    "fd": _without("xX", "--exec", "--exec-batch"),
    "fdfind": _without("xX", "--exec", "--exec-batch"),
    "env": _alone,
    "git": git_reads,
    **dict.fromkeys(("pip", "pip3"), _listing("list show freeze --version check", _PIP)),
    "npm": _listing("ls list --version -v outdated", _NPM),
    "docker": _first_of("ps", "images", "inspect", "logs", "version", "info", "--version"),
    "gh": lambda words: (
        len(words) > 1
        and words[0].text not in ("auth", "config", "alias")
        and words[1].text in ("view", "list", "status", "diff", "checks")
        and without(words[2:], "w", "--web")
    ),
    "xargs": _alone,
    "timeout": _nothing_but("--version", "--help"),
    **{name: _versioned(name) for name in _TELLING},
}

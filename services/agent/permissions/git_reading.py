"""Which uses of `git` only read."""

from collections.abc import Sequence

from services.agent.permissions.git import GLOBAL
from services.agent.permissions.options import end, listed
from services.agent.permissions.words import Word

_READING = listed(
    "status log diff show ls-files ls-tree rev-parse describe blame annotate shortlog cat-file grep rev-list merge-base"
    " name-rev for-each-ref show-ref show-branch count-objects whatchanged diff-tree diff-index diff-files check-ignore"
    " check-attr cherry range-diff version"
)
_FORBIDDEN = (
    "--output", "--ext-diff", "--textconv", "--filters", "--open-files-in-pager", "--upload-pack", "--exec", "--web",
    "--output-directory", "--paginate", "--show-signature",
)  # fmt: skip
_LISTING: dict[str, frozenset[str]] = {
    "branch": listed("-a -r -v -vv -l --list --all --remotes --show-current --verbose -av -avv -ra"),
    "remote": listed("-v --verbose"),
}
_FIRST: dict[str, frozenset[str]] = {
    "remote": frozenset({"get-url"}),
    "stash": frozenset({"list", "show"}),
    "reflog": frozenset({"show"}),
    "worktree": frozenset({"list"}),
    "submodule": frozenset({"status"}),
    "config": frozenset({"--get", "--get-all", "--list", "-l", "--get-regexp", "get", "list"}),
    "notes": frozenset({"list", "show"}),
    "bundle": frozenset({"verify", "list-heads"}),
}
_FREE = listed("-P --no-pager --no-optional-locks --no-replace-objects --literal-pathspecs --no-advice")


def git_reads(words: Sequence[Word]) -> bool:
    """Return whether `git` with these words changes nothing and runs nothing."""
    place = end((Word("git"), *words), GLOBAL)
    if place is None:
        return False
    before, rest = words[: place - 1], words[place - 1 :]
    if not rest:
        return all(word.text in ("--version", "-v", "--help", "-h") for word in before)
    if any(word.text not in _FREE for word in before) or not rest[0].known:
        return False
    return _subcommand(rest[0].text, rest[1:])


def _subcommand(name: str, rest: Sequence[Word]) -> bool:
    if not all(map(_is_plain, rest)):
        return False
    if name in _READING:
        return name != "grep" or not any(word.text.startswith("-O") for word in rest)
    if name in _FIRST and rest and rest[0].text in _FIRST[name]:
        return name != "config" or not any(word.text in ("--unset", "--add", "-e", "--edit") for word in rest)
    if name == "branch" or name == "remote":
        return all(word.known and word.text in _LISTING[name] for word in rest)
    if name == "tag":
        listing = not rest or rest[0].text in ("-l", "--list", "-n")
        return listing and not any(word.text.startswith(("-d", "-f", "-a", "-s", "-m", "--delete")) for word in rest)
    return name == "reflog" and not rest


def _is_plain(word: Word) -> bool:
    if not word.known and word.head in ("", "-", "--"):
        return False
    option = word.head.partition("=")[0]
    return len(option) < 3 or not any(each.startswith(option) for each in _FORBIDDEN) or not option.startswith("--")

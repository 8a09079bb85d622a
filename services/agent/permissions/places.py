"""Paths: where they lead inside the workspace, and which of them must not be touched without a person."""

import posixpath
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from services.agent.permissions.options import listed
from services.agent.permissions.script import Script
from services.agent.permissions.words import HIDDEN, Word

ROOT = "/workspace"
"""Where a cell has its workspace; relative paths begin there."""
_MOST_FOLDERS = 16
_NO_FILES = frozenset({"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/zero", "/dev/full"})
_SYSTEM = listed("bin boot dev etc lib lib32 lib64 proc root run sbin srv sys usr var")
_SCRATCH = ("/dev/shm/", "/var/tmp/", "/run/user/")  # noqa: S108 - what a command names

_SECRET_FOLDERS = (".ssh", ".aws", ".gnupg", ".kube", ".docker", ".azure", ".password-store")
_SECRET_FILES = (
    ".netrc", ".npmrc", ".pypirc", ".env", ".env.*", ".envrc", ".git-credentials", ".pgpass", ".my.cnf", ".vault-token",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys", "credentials.json", "shadow", "gshadow",
    "sudoers", "master.key", "*.pem", "*.p12", "*.pfx", "*.keystore", ".bash_history", ".python_history",
)  # fmt: skip
_SECRET_PATHS = (
    "/proc/*/environ",
    "/proc/*/mem",
    "/dev/mem",
    "/dev/kmem",
    "/etc/sudoers.d/*",
    "/dev/tcp/*",
    "/dev/udp/*",
)

_TELLING = 4
"""Characters of a glob by which a name can be recognised that does not begin with a dot."""
_STARTING_FOLDERS = (
    ".git", ".vscode", ".idea", ".ssh", ".husky", ".githooks", ".direnv", ".devcontainer", "autostart", "systemd",
    "cron.d", "cron.daily", "cron.hourly", "cron.weekly", "cron.monthly", "crontabs",
)  # fmt: skip
_STARTING_FILES = (
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile", ".zshrc", ".zshenv",
    ".zprofile", ".zlogin", ".kshrc", ".cshrc", ".tcshrc", ".inputrc", ".vimrc", ".exrc", ".gitconfig", ".gitmodules",
    ".gitattributes", ".lesskey", ".pythonstartup", "sitecustomize.py", "usercustomize.py", "*.pth", "crontab",
    ".mcp.json", "config.fish", ".wgetrc", ".curlrc", ".condarc", "ld.so.preload", "pip.conf",
)  # fmt: skip
_SAMPLES = (".env.example", ".env.sample", ".env.template")


def normal(path: str, folder: str = "") -> str:
    """Return where `path` leads from a folder of the workspace: relative to it inside, else absolute or with `~`."""
    if not path.startswith(("/", "~")):
        path = posixpath.join(folder, path)
    if path.startswith("~"):
        home, _, rest = path.partition("/")
        if ".." in rest.split("/"):
            return path
        return posixpath.normpath(path) if rest else home
    absolute = posixpath.normpath(posixpath.join(ROOT, path))
    absolute = "/" + absolute.lstrip("/")
    if absolute == ROOT:
        return "."
    return absolute[len(ROOT) + 1 :] if absolute.startswith(ROOT + "/") else absolute


def is_inside(path: str, folders: Iterable[str]) -> bool:
    """Return whether a normal path lies in one of these folders of the workspace."""
    if path.startswith(("/", "~")):
        return False
    return any(folder == "." or path == folder or path.startswith(folder + "/") for folder in map(normal, folders))


def is_no_file(path: str) -> bool:
    """Return whether what is written there goes nowhere or to the terminal."""
    return path in _NO_FILES or bool(re.fullmatch(r"/dev/fd/[012]", path))


def is_system(path: str) -> bool:
    """Return whether a normal path is a root: the file system's, a home, the workspace's, or what lies right below."""
    folder, _, last = path.rpartition("/")
    if last in ("*", ".*", "?*"):
        return not folder or (folder.count("/") <= 1 and folder[0] in "/~")
    return path == "." or (path[:1] in ("/", "~") and path.count("/") <= 1)


def is_shared(path: str) -> bool:
    """Return whether a normal path belongs to the system, not to whoever works in the workspace."""
    return path.startswith("/") and path.split("/")[1] in _SYSTEM and not path.startswith(_SCRATCH)


@lru_cache(maxsize=4096)
def is_secret(path: str) -> bool:
    """Return whether what lies there, or may be meant by a glob, is nobody's to read without being asked."""
    *folders, last = path.split("/")
    if any(_meets(part, _SECRET_FOLDERS) for part in (*folders, last)):
        return True
    if last not in _SAMPLES and _meets(last, _SECRET_FILES):
        return True
    return any(fnmatchcase(path, each) for each in _SECRET_PATHS)


@lru_cache(maxsize=4096)
def is_starting(path: str) -> bool:
    """Return whether what is written there is run later by something else, or opens a door."""
    *folders, last = path.split("/")
    if last in (".gitignore", ".gitkeep"):
        return any(_meets(part, _STARTING_FOLDERS) for part in folders)
    return any(_meets(part, _STARTING_FOLDERS) for part in (*folders, last)) or _meets(last, _STARTING_FILES)


def _meets(part: str, patterns: tuple[str, ...]) -> bool:
    if not part or part in ("*", ".", ".."):
        return False
    part = part.lower()
    if not any(sign in part for sign in "*?[{"):
        return any(fnmatchcase(part, each) for each in patterns)
    loose = re.sub(r"\{[^}]*\}?|\[[^\]]*\]?", "*", part)
    if not loose.startswith(".") and len(loose.strip("*?.")) < _TELLING:
        return False
    names = (each.replace("*", "x") for each in patterns)
    return any(fnmatchcase(each, loose) for each in names if each.startswith(".") == loose.startswith("."))


def ways(script: Script) -> list[str] | None:
    """Return the folders in which the program may be when it names a path; None if that cannot be told."""
    found = [""]
    for move in script.moves:
        if not move.known or script.jumps:
            return None
        found += [step for each in found if (step := _entered(each, move.text)) not in found]
        if len(found) > _MOST_FOLDERS:
            return None
    return found


def _entered(folder: str, move: str) -> str:
    reached = normal(move or "~", folder)
    return "" if reached == "." else reached


def leads(word: Word, folders: list[str] | None) -> list[str] | None:
    """Return the normal paths that a word may mean; None if they cannot be told."""
    if HIDDEN in word.text or ("{" in word.text and word.open):
        return None
    if folders is None:
        return [normal(word.text)] if word.text.startswith(("/", "~")) else None
    return [normal(word.text, folder) for folder in folders]

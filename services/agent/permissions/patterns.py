"""Patterns of rules: which names, command lines and paths they speak of. Every match takes linear time."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from services.agent.permissions.places import normal
from services.agent.permissions.script import GAP

_WILD = "\2"


def matches_name(pattern: str, name: str) -> bool:
    """Return whether a tool's name is meant; `*` stands for any characters."""
    return _fits(tuple(pattern.split("*")), name)


@dataclass(frozen=True, slots=True)
class Line:
    """A pattern of command lines, as the literal pieces between its wildcards."""

    shapes: tuple[tuple[str, ...], ...]

    @property
    def head(self) -> str:
        """What every line begins with that is meant."""
        return self.shapes[-1][0]

    def matches(self, line: str) -> bool:
        """Return whether a line is meant; its words are parted by `GAP`."""
        return any(_fits(shape, line) for shape in self.shapes)

    def may_match(self, begins: str) -> bool:
        """Return whether a line may be meant of which only the beginning is known."""
        head = self.head.removesuffix(GAP)
        return head.startswith(begins) or begins.startswith(head)


@lru_cache(maxsize=1024)
def line_pattern(text: str) -> Line:
    """Return the pattern of a rule about command lines.

    `git commit:*` means these words and whatever follows them. `*` stands for any characters, `\\*` for itself;
    `git *` means `git` alone, too. A pattern without either means exactly this line. Quotes group words as in a shell.
    """
    text = text.strip()
    prefix = text.endswith(":*") and not text.endswith("\\:*")
    cooked = _cooked(text[:-2] if prefix else text)
    if prefix:
        cooked += GAP + _WILD
    shape = tuple(cooked.split(_WILD))
    if cooked.endswith(GAP + _WILD):
        return Line((tuple(cooked[:-2].split(_WILD)), shape))
    return Line((shape,))


def _cooked(text: str) -> str:
    """Return the words of a pattern, parted by `GAP`, with a mark for each wildcard."""
    out: list[str] = []
    quote = ""
    place = 0
    while place < len(text):
        sign = text[place]
        if sign == "\\" and place + 1 < len(text) and quote != "'":
            place += 1
            out.append(text[place])
        elif quote:
            out.append("" if sign == quote else sign)
            quote = "" if sign == quote else quote
        elif sign in "'\"" and text.find(sign, place + 1) > 0:
            quote = sign
        elif sign.isspace():
            if out and out[-1] != GAP:
                out.append(GAP)
        else:
            out.append(_WILD if sign == "*" else sign)
        place += 1
    return "".join(out)


def _fits(pieces: tuple[str, ...], text: str) -> bool:
    """Return whether a text consists of these pieces with anything between them."""
    first, *rest = pieces
    if not rest:
        return text == first
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, stop = len(first), len(text) - len(last)
    for piece in rest:
        place = text.find(piece, place, stop)
        if place < 0:
            return False
        place += len(piece)
    return True


def matches_path(pattern: str, path: str, *, anywhere: bool) -> bool:
    """Return whether a normal path is meant.

    `*` stays within a folder, `**` does not, `dir/**` means the folder too. With `anywhere`, a pattern without a slash
    means that name in every folder.
    """
    if anywhere and "/" not in pattern.rstrip("/") and pattern != "**":
        return any(fnmatchcase(part, pattern.rstrip("/")) for part in path.split("/"))
    wanted = normal(pattern).split("/")
    if wanted[0] == "**" and path.startswith(("/", "~")):
        return False
    if wanted[-1] == "**" and path == "/".join(wanted[:-1]):
        return True
    return _steps_fit(wanted, path.split("/"))


def _steps_fit(wanted: list[str], path: list[str]) -> bool:
    """Return whether the steps of a path fit, where `**` stands for any number of them."""
    place = step = 0
    mark, resume = -1, 0
    while step < len(path):
        if place < len(wanted) and wanted[place] == "**":
            mark, resume = place, step
            place += 1
        elif place < len(wanted) and fnmatchcase(path[step], wanted[place]):
            place, step = place + 1, step + 1
        elif mark >= 0:
            resume += 1
            place, step = mark + 1, resume
        else:
            return False
    return all(each == "**" for each in wanted[place:])


def matches_text(pattern: str, text: str) -> bool:
    """Return whether an argument is meant; `*` stands for any characters, `\\*` for itself."""
    pieces = pattern.replace("\\*", _WILD).split("*")
    return _fits(tuple(piece.replace(_WILD, "*") for piece in pieces), text)

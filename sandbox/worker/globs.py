"""Tell which paths fit a pattern, in time linear in the length of both."""

from __future__ import annotations

import fnmatch
import re

_ANY_FOLDERS = "**"
_MOST_CHARACTERS = 4096
_MOST_ALTERNATIVES = 32
_PIECE = re.compile(r"\[[!^]?\]?[^]/]*\]|[{},]")
"""A set of letters, in which a brace is a brace; or what makes alternatives."""


class BadGlob(ValueError):
    """The text is no pattern."""


class Glob:
    """A pattern: `*`, `?` and `[…]` stay within one folder, `**` stands for any folders or none, `{a,b}` for each."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > _MOST_CHARACTERS or "\0" in pattern:
            raise BadGlob(f"{pattern[:100]!r} is not a pattern of paths inside the workspace")
        self._alternatives = [_Path(each) for each in _alternatives(pattern)]

    def fits(self, path: str) -> bool:
        """Return whether the whole of `path` fits."""
        return any(alternative.fits(path) for alternative in self._alternatives)


class _Path:
    """A pattern without alternatives."""

    def __init__(self, pattern: str) -> None:
        parts = pattern.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise BadGlob(f"{pattern[:100]!r} is not a pattern of paths inside the workspace")
        if parts[-1] == _ANY_FOLDERS:
            parts.append("*")
        try:
            self._parts = [None if part == _ANY_FOLDERS else _compiled(part) for part in parts]
        except (re.error, RecursionError, OverflowError) as error:
            raise BadGlob(f"{pattern[:100]!r} is no pattern: {error}") from error

    def fits(self, path: str) -> bool:
        """Return whether the whole of `path` fits; all places in the pattern are followed at once."""
        places = self._with_skipped({0})
        for name in path.split("/"):
            places = self._with_skipped(self._after(name, places))
        return len(self._parts) in places

    def _after(self, name: str, places: set[int]) -> set[int]:
        reached: set[int] = set()
        for place in places:
            if place == len(self._parts):
                continue
            part = self._parts[place]
            if part is None:
                reached.add(place)
            elif part.match(name):
                reached.add(place + 1)
        return reached

    def _with_skipped(self, places: set[int]) -> set[int]:
        found = set(places)
        for place in range(len(self._parts)):
            if place in found and self._parts[place] is None:
                found.add(place + 1)
        return found


def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(_PIECE.sub(lambda piece: piece.group().replace("[^", "[!", 1), part)))


def _alternatives(pattern: str) -> list[str]:
    """Return the patterns that one with `{a,b}` stands for."""
    if pattern.count("{") > _MOST_ALTERNATIVES:
        raise BadGlob(f"{pattern[:100]!r} has more than {_MOST_ALTERNATIVES} braces")
    found, left = [], [pattern]
    while left:
        text = left.pop()
        group = _first_group(text)
        if group is None:
            found.append(text)
        else:
            cuts = range(len(group) - 1)
            each = (text[group[cut] + 1 : group[cut + 1]] for cut in cuts)
            left += [text[: group[0]] + part + text[group[-1] + 1 :] for part in each]
        if len(found) + len(left) > _MOST_ALTERNATIVES or sum(map(len, found + left)) > _MOST_CHARACTERS:
            raise BadGlob(f"{pattern[:100]!r} stands for too many patterns")
    return found


def _first_group(text: str) -> list[int] | None:
    """Return where the first alternatives are: a brace, the commas between them, and a brace."""
    pieces = [(piece.group(), piece.start()) for piece in _PIECE.finditer(text)]
    for first, (begins, at) in enumerate(pieces):
        if begins != "{":
            continue
        depth, cuts = 0, [at]
        for piece, place in pieces[first:]:
            depth += {"{": 1, "}": -1}.get(piece, 0)
            if depth == 0 or (depth == 1 and piece == ","):
                cuts.append(place)
            if depth == 0:
                break
        if depth == 0 and len(cuts) > 2:
            return cuts
    return None

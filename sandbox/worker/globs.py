"""Tell which paths fit a pattern, in time linear in the length of both."""

from __future__ import annotations

import fnmatch
import re

_ANY_FOLDERS = "**"
_MOST_CHARACTERS = 4096


class BadGlob(ValueError):
    """The text is no pattern."""


class Glob:
    """A pattern: `*`, `?` and `[…]` stay within one folder, `**` stands for any folders or none."""

    def __init__(self, pattern: str) -> None:
        parts = pattern.split("/")
        if len(pattern) > _MOST_CHARACTERS or "\0" in pattern or any(part in ("", ".", "..") for part in parts):
            raise BadGlob(f"{pattern[:100]!r} is not a pattern of paths inside the workspace")
        if parts[-1] == _ANY_FOLDERS:
            parts.append("*")
        try:
            self._parts = [None if part == _ANY_FOLDERS else re.compile(fnmatch.translate(part)) for part in parts]
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

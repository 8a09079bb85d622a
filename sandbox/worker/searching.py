"""Find the lines of the workspace's text files that a regular expression is found in."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from .workspace import Refused, Workspace, plainly

_LOOKED_AT_FOR_NUL = 8192
_LINE_CHARACTERS = 2000
_LINE_BYTES = 1 << 20
"""What is beyond this in one line is not searched."""
_CHARACTERS = 1 << 20
"""Of all lines that are told together."""
_RESULT_BYTES = 3 << 20
_MOST_CONTEXT = 50


class _Found:
    """What was found so far, within bounds."""

    def __init__(self, most: int, context: int) -> None:
        self.matches: list[dict[str, Any]] = []
        self.truncated = False
        self._most, self._context = most, context
        self._room = _CHARACTERS

    def look_through(self, path: str, lines: Iterator[str], pattern: re.Pattern[str]) -> None:
        """Take in the lines of one file that fit, with those around them."""
        before: deque[str] = deque(maxlen=self._context)
        open_ones: list[dict[str, Any]] = []
        for number, line in enumerate(lines, 1):
            shown = line[:_LINE_CHARACTERS]
            open_ones = [match for match in open_ones if len(match["after"]) < self._context]
            if self.truncated and not open_ones:
                return
            for match in open_ones:
                match["after"].append(shown)
                self._room -= len(shown)
            if not self.truncated and pattern.search(line):
                self.truncated = len(self.matches) >= self._most or self._room <= 0
                if not self.truncated:
                    match = {"path": path, "line": number, "text": shown, "before": list(before), "after": []}
                    self._room -= sum(map(len, before), len(shown) + len(path))
                    self.matches.append(match)
                    open_ones.append(match)
            before.append(shown)

    def told(self) -> bytes:
        """Return it as JSON, without the last ones where it would be too long."""
        room, kept = _RESULT_BYTES, []
        for match in self.matches:
            kept.append(json.dumps(match, ensure_ascii=False).encode("utf-8", "replace"))
            room -= len(kept[-1]) + 1
            if room < 0:
                del kept[-1]
                self.truncated = True
                break
        return b'{"found":[%s],"truncated":%s}' % (b",".join(kept), b"true" if self.truncated else b"false")


def search(workspace: Workspace, order: dict[str, Any]) -> bytes:
    """Return what `order` asks for: `pattern` in the files of `glob`, at most `max` matches with `context` lines."""
    try:
        pattern = re.compile(order["pattern"])
    except (re.error, OverflowError, RecursionError) as error:
        raise Refused("bad_pattern", f"{order['pattern'][:100]!r} is no regular expression: {error}") from error
    found = _Found(max(0, order["max"]), min(max(0, order["context"]), _MOST_CONTEXT))
    for path in sorted(path for path, _ in workspace.files(order["glob"])):
        try:
            handle = workspace.open(path)
        except (OSError, Refused):
            continue
        with os.fdopen(handle, "rb") as file:
            if b"\0" not in file.read(_LOOKED_AT_FOR_NUL):
                file.seek(0)
                found.look_through(plainly(path), _lines(file), pattern)
        if found.truncated:
            break
    return found.told()


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield each line without its end."""
    while True:
        line = rest = file.readline(_LINE_BYTES)
        while len(rest) == _LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(_LINE_BYTES)
        if not line:
            return
        yield line.rstrip(b"\r\n").decode("utf-8", "replace")

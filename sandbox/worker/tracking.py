"""Let `multiprocessing` take the end of its tracker for granted: it ends with its program, while objects stay."""

from __future__ import annotations

import warnings
from typing import Any

from .loading import once_loaded

_LIBRARY = "multiprocessing.resource_tracker"


class Tracked:
    """The shared names that this program and those before it had watched over.

    A tracker shows an error where it is told to forget a name that it never heard, as those of programs before are.
    """

    def __init__(self) -> None:
        self._now: set[tuple[str, str]] = set()
        self._before: set[tuple[str, str]] = set()
        warnings.filterwarnings("ignore", "resource_tracker: process died unexpectedly", UserWarning)
        once_loaded(_LIBRARY, self._watch)

    def begin_anew(self) -> None:
        """Note that the tracker has ended with its program."""
        self._before |= self._now
        self._now = set()

    def _watch(self, library: Any) -> None:
        tracker = library._resource_tracker
        tell = tracker._send

        def _send(command: str, name: str, kind: str) -> None:
            if command == "REGISTER":
                self._now.add((name, kind))
            elif command == "UNREGISTER":
                self._now.discard((name, kind))
                if (name, kind) in self._before:
                    self._before.discard((name, kind))
                    return
            tell(command, name, kind)

        tracker._send = _send

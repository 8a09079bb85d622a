"""What this process knows of sessions, so that an append need not read first."""

from collections import OrderedDict
from dataclasses import dataclass

from natscope.contracts.memory import Logged


@dataclass(slots=True)
class Known:
    """Which messages a session has, and where its log ends. Others may have written since: writes are fenced by it."""

    ids: set[str]
    count: int = 0
    last: int = 0
    """Sequence of the last entry; 0 if there is none."""
    contested: bool = False
    """Others write to the session too, so looking before writing saves time."""

    def add(self, sequence: int, logged: Logged | None) -> None:
        """Take in the entry behind the last one; None if it cannot be read."""
        self.last = sequence
        if logged is not None:
            self.ids.update(message.id for message in logged.messages)
            self.count = logged.before + len(logged.messages)


class Remembered:
    """The sessions used last, up to a number of ids in all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._sessions: OrderedDict[str, Known] = OrderedDict()

    def take(self, session: str) -> Known | None:
        """Return what is known and hold it no more: it is true again only when the caller's work has succeeded."""
        known = self._sessions.pop(session, None)
        if known is not None:
            self._size -= _size(known)
        return known

    def put(self, session: str, known: Known) -> None:
        """Hold `known`; the sessions not used for longest give way."""
        self.take(session)
        self._sessions[session] = known
        self._size += _size(known)
        while self._size > self._limit:
            _, gone = self._sessions.popitem(last=False)
            self._size -= _size(gone)

    def offer(self, session: str, known: Known) -> None:
        """Hold `known` unless something as new is held."""
        held = self._sessions.get(session)
        if held is None or held.last < known.last:
            self.put(session, known)


def _size(known: Known) -> int:
    return len(known.ids) + 1

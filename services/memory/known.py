"""What this process knows of sessions, so that neither an append nor a recall has to look for it first."""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable

from natscope.contracts.memory import Logged
from services.memory.reading import Wanted


class Known:
    """Which messages a session has, and where. Others may have written since; then a fenced write tells."""

    def __init__(self, *, contested: bool = False) -> None:
        self.ids: set[str] = set()
        self.contested = contested
        """Others write to the session too, so looking before writing saves time."""
        self._sequences = array("Q")
        self._before = array("Q", [0])
        self._bytes = array("Q", [0])

    @property
    def last(self) -> int:
        """Sequence of the last entry; 0 if there is none."""
        return self._sequences[-1] if self._sequences else 0

    @property
    def count(self) -> int:
        """How many messages there are."""
        return self._before[-1]

    def add(self, sequence: int, ids: Iterable[str], size_bytes: int, *, before: int | None = None) -> None:
        """Take in the entry behind the last one; `before` is how many messages it says came before its own."""
        fresh = list(ids)
        self.ids.update(fresh)
        if before is not None:
            self._before[-1] = before
        self._sequences.append(sequence)
        self._before.append(self.count + len(fresh))
        self._bytes.append(self._bytes[-1] + size_bytes)

    def learn(self, sequence: int, logged: Logged | None, size_bytes: int) -> None:
        """Take in the entry behind the last one as it was read; None if it cannot be."""
        if logged is None:
            self.add(sequence, (), size_bytes)
        else:
            self.add(sequence, (message.id for message in logged.messages), size_bytes, before=logged.before)

    def start(self, wanted: Wanted) -> int | None:
        """Return the sequence of the entry to read from; None if the guess holds all there is, or nothing is wanted."""
        index = 0
        if wanted.messages is not None:
            index = bisect_right(self._before, self.count - wanted.messages) - 1
        if wanted.size_bytes is not None:
            index = max(index, bisect_right(self._bytes, self._bytes[-1] - wanted.size_bytes) - 1)
        return self._sequences[index] if 0 < index < len(self._sequences) else None


class Remembered:
    """The sessions used last, up to a number of ids in all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._sessions: OrderedDict[str, Known] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def get(self, session: str) -> Known | None:
        """Return what is known, to read by."""
        return self._sessions.get(session)

    def take(self, session: str) -> Known | None:
        """Return what is known and hold it no more: it is true again only when the taker's work has succeeded."""
        self._size -= self._sizes.pop(session, 0)
        return self._sessions.pop(session, None)

    def put(self, session: str, known: Known) -> None:
        """Hold `known`; the sessions not used for longest give way."""
        self.take(session)
        self._sessions[session] = known
        self._sizes[session] = len(known.ids) + 1
        self._size += self._sizes[session]
        while self._size > self._limit:
            self.take(next(iter(self._sessions)))

    def offer(self, session: str, known: Known) -> None:
        """Hold `known` unless something as new is held."""
        held = self._sessions.get(session)
        if held is None or held.last < known.last:
            self.put(session, known)

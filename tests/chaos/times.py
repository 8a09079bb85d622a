"""How long things took, beside what is promised of them."""

from collections import defaultdict
from statistics import median


class Times:
    """Seconds by what they were taken for; no clock decides anything here."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)
        self._promised: dict[str, float] = {}

    def took(self, what: str, seconds: float, *, promised: float | None = None) -> None:
        """Note a time, and how long it may take by what is promised."""
        self.taken[what].append(seconds)
        if promised is not None:
            self._promised[what] = promised

    def __str__(self) -> str:
        """A line for each: how often, the median, the longest, and how many were within what is promised."""
        return "\n".join(self._line(what, taken) for what, taken in self.taken.items())

    def _line(self, what: str, taken: list[float]) -> str:
        line = f"  {what}: {len(taken)} ×, median {median(taken):.2f} s, longest {max(taken):.2f} s"
        if (promised := self._promised.get(what)) is None:
            return line
        return f"{line}; promised {promised:g} s, kept {sum(each <= promised for each in taken)} ×"

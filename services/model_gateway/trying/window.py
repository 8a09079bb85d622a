"""Counts what went well and what did not, over the last so many seconds."""

from collections import deque


class Window:
    """A sliding window in slices: exact to a tenth of its length, in constant memory."""

    SLICES = 10

    def __init__(self, length_s: float) -> None:
        self._slice_s = length_s / self.SLICES
        self._slices: deque[list[int]] = deque(maxlen=self.SLICES)

    def note(self, now: float, *, well: bool) -> None:
        """Count one more."""
        number = int(now / self._slice_s)
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append([number, 0, 0])
        self._slices[-1][1 if well else 2] += 1

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many went well and how many did not."""
        oldest = int(now / self._slice_s) - self.SLICES
        recent = [each for each in self._slices if each[0] > oldest]
        return sum(each[1] for each in recent), sum(each[2] for each in recent)

    def forget(self) -> None:
        """Begin anew."""
        self._slices.clear()

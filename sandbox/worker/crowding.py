"""Keep a run of many processes off one processor, so that the worker hears of its deadline and can end it."""

from __future__ import annotations

import os

from .children import processes

_MANY = 24
"""As many processes as that are a crowd; one that has ended and was not waited for by its parent does not count."""
_ALL = sorted(os.sched_getaffinity(0))


class Crowd:
    """All processes but the worker, held together once they are many.

    Where they use up the cell's share of CPU time on all processors, the kernel has every process of the cell wait, the
    worker whatever its rank too. On as many processors as make up that share they lose nothing, and another is left.
    """

    def __init__(self, run: int, most: int | None) -> None:
        """`most` is how many processors the cell may fill; None: all of them. `run` chooses which."""
        count = min(len(_ALL) - 1, most or len(_ALL))
        self._few = {_ALL[(run + offset) % len(_ALL)] for offset in range(count)}
        self._held = False

    @property
    def possible(self) -> bool:
        """Whether there is a processor to be left."""
        return bool(self._few)

    def look(self) -> None:
        """Hold them together if they are many, and see that they have not done so to the worker."""
        if not self._few or sum(entry.isdigit() for entry in os.listdir("/proc")) < _MANY:
            return
        living = processes()
        if len(living) < _MANY:
            return
        self._held = True
        for pid in living:
            _let(pid, self._few)
        _let(os.getpid(), _ALL)

    def release(self) -> None:
        """Let those that are left have all processors again."""
        if self._held:
            for pid in processes():
                _let(pid, _ALL)


def _let(pid: int, processors: set[int] | list[int]) -> None:
    try:
        os.sched_setaffinity(pid, processors)
    except OSError:
        return

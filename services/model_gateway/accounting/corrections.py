"""Learns from every call how much larger prompts really were than they were estimated, target by target."""

from dataclasses import dataclass
from math import ceil

LEARNED = (0.25, 4.0)
"""What is further off, such as pages that a provider searched by itself, says nothing of the next call."""
QUICK = 4
"""So many calls make up for most of what was assumed at first."""
STRANGE_TOKENS = 32
"""At first a prompt may be so much longer than it was estimated, however short it is."""


@dataclass(slots=True)
class _Learned:
    calls: int = 0
    mean: float = 1.0
    """Of real to estimated; forgets."""
    most: float = 1.25
    """The most of late; fades to the mean. At first it stands for what is not known yet."""


class Corrections:
    """What was learned of each target, in this process."""

    def __init__(self) -> None:
        self._learned: dict[str, _Learned] = {}

    def expected(self, target: str, estimated: int) -> int:
        """Return how many tokens the provider will count, as far as can be told."""
        learned = self._learned.get(target)
        return estimated if learned is None else max(1, round(estimated * learned.mean))

    def bound(self, target: str, estimated: int) -> int:
        """Return what the provider will hardly count more than: what a budget must have room for."""
        learned = self._learned.get(target) or _Learned()
        bound = ceil(estimated * learned.most - 1e-6)
        return bound if learned.calls >= QUICK else max(bound, estimated + STRANGE_TOKENS)

    def learn(self, target: str, estimated: int, real: int) -> None:
        """Note what an estimate came to."""
        ratio = real / estimated if estimated > 0 else 0.0
        if not LEARNED[0] <= ratio <= LEARNED[1]:
            return
        learned = self._learned.setdefault(target, _Learned())
        learned.calls += 1
        learned.mean += (ratio - learned.mean) * max(0.1, 1 / learned.calls)
        faded = (learned.most - learned.mean) * (0.9 if learned.calls > QUICK else 0.25)
        learned.most = max(ratio, learned.mean + (faded if faded > 0.002 else 0.0))

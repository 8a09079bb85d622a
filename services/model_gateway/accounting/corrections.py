"""Learns from every call how much larger prompts really were than they were estimated, target by target."""

from dataclasses import dataclass
from math import ceil

from natscope.contracts.model import Learned

LEARNED = (0.25, 4.0)
"""What is further off, such as pages that a provider searched by itself, says nothing of the next call."""
QUICK = 4
"""So many calls make up for most of what was assumed at first."""
STRANGE_TOKENS = 32
"""At first a prompt may be so much longer than it was estimated, however short it is."""
NEWS = 1.01
"""The most of late is told when it is so much above what was told before."""


@dataclass(slots=True)
class _Learned:
    calls: int = 0
    mean: float = 1.0
    """Of real to estimated; forgets."""
    most: float = 1.25
    """The most of late; fades to the mean. At first it stands for what is not known yet."""
    told: float = 0.0
    """The most that the other processes know of."""


class Corrections:
    """What was learned of each target, here and by the other gateways.

    Were each to learn alone, one that has made no calls yet would refuse what one that has made some finds room for.
    """

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

    def learn(self, target: str, estimated: int, real: int) -> Learned | None:
        """Note what an estimate came to, and return what the other gateways should hear of it, if anything."""
        ratio = real / estimated if estimated > 0 else 0.0
        if not LEARNED[0] <= ratio <= LEARNED[1]:
            return None
        learned = self._learned.setdefault(target, _Learned())
        learned.calls += 1
        learned.mean += (ratio - learned.mean) * max(0.1, 1 / learned.calls)
        faded = (learned.most - learned.mean) * (0.9 if learned.calls > QUICK else 0.25)
        learned.most = min(LEARNED[1], max(ratio, learned.mean + (faded if faded > 0.002 else 0.0)))
        if learned.calls > QUICK and learned.most <= learned.told * NEWS:
            return None
        return _told(target, learned)

    def hear(self, theirs: Learned) -> Learned | None:
        """Believe what another gateway learned, and return what it does not know yet, if it knows less than this one.

        Hearing what this one told itself changes nothing.
        """
        mine = self._learned.setdefault(theirs.target, _Learned())
        is_news, mine.told = theirs.most > mine.told, max(mine.told, theirs.most)
        if mine.calls >= QUICK:
            if theirs.calls < QUICK:
                return _told(theirs.target, mine)
            mine.most = max(mine.most, theirs.most) if is_news else mine.most
        elif theirs.calls > mine.calls:
            mine.calls, mine.mean, mine.most = theirs.calls, theirs.mean, theirs.most
        return None


def _told(target: str, learned: _Learned) -> Learned:
    learned.told = max(learned.told, learned.most)
    return Learned(target=target, calls=learned.calls, mean=learned.mean, most=learned.most)

"""The sheet of one account: what was used, who holds what, and whether something more fits; pure, one JSON document."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, get_args

from pydantic_core import from_json, to_json

from services.model_gateway.accounting.rules import Period

PERIODS: tuple[Period, ...] = get_args(Period)
IDLE_S = 60.0
"""An instance that holds nothing is forgotten after this; no write is on its way that long."""
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, money and calls."""

    tokens: int = 0
    nanos: int = 0
    calls: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.nanos + other.nanos, self.calls + other.calls)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens - other.tokens, self.nanos - other.nanos, self.calls - other.calls)


NOTHING = Amount()


@dataclass(slots=True)
class Used:
    """What was used in a period."""

    since: int = 0
    """When the period began, in seconds of the epoch."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nanos: int = 0
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        """Of prompt and answer together."""
        return self.input_tokens + self.output_tokens

    def row(self) -> list[int]:
        """Return what is counted, in the order in which it is kept."""
        return [self.calls, self.input_tokens, self.output_tokens, self.nanos, self.unpriced]

    def beyond(self, known: "Used") -> "Used":
        """Return what is counted here and not in `known`."""
        return Used(0, *(max(0, mine - theirs) for mine, theirs in zip(self.row(), known.row(), strict=True)))

    def add(self, more: "Used") -> None:
        """Count `more` in; its `since` says nothing."""
        self.calls += more.calls
        self.input_tokens += more.input_tokens
        self.output_tokens += more.output_tokens
        self.nanos += more.nanos
        self.unpriced += more.unpriced


@dataclass(slots=True)
class Held:
    """What one process holds for calls that are under way."""

    write: int
    """Counts the writes of that process: by it a write whose acknowledgement was lost is known again."""
    at: float
    amount: Amount
    counted: Used = field(default_factory=Used)
    """All that this process has counted here so far."""


@dataclass(slots=True)
class Sheet:
    """Everything known of one account."""

    name: str
    used: dict[Period, Used] = field(default_factory=dict[Period, Used])
    held: dict[str, Held] = field(default_factory=dict[str, Held])
    requests: float = 0.0
    """Taken of the request limit and not yet grown back."""
    tokens: float = 0.0
    """Taken of the token limit and not yet grown back."""
    at: float = 0.0
    """When those two were true."""

    @classmethod
    def read(cls, data: bytes, *, name: str) -> "Sheet":
        """Return the sheet in `data`, or an empty one."""
        if not data:
            return cls(name)
        told: dict[str, Any] = from_json(data)
        return cls(
            told["name"],
            {period: Used(*row) for period, row in told["used"].items() if period in PERIODS},
            {by: _held(*row) for by, row in told["held"].items()},
            *told["taken"],
        )

    def write(self) -> bytes:
        """Return the sheet as it is kept."""
        used = {period: [row.since, *row.row()] for period, row in self.used.items()}
        held = {
            by: [row.write, row.at, row.amount.tokens, row.amount.nanos, row.amount.calls, *row.counted.row()]
            for by, row in self.held.items()
        }
        told = {"name": self.name, "used": used, "held": held, "taken": [self.requests, self.tokens, self.at]}
        return to_json(told)

    def turn(self, now: float) -> None:
        """Begin the periods that have begun. A clock that is behind another gateway's turns nothing back."""
        for period in PERIODS:
            since = began(period, now)
            found = self.used.get(period)
            if found is None or found.since < since:
                self.used[period] = Used(since)

    def count(self, more: Used) -> None:
        """Count what was used into every period."""
        for row in self.used.values():
            row.add(more)

    def reserved(self) -> Amount:
        """Return what all processes hold together."""
        return _sum(row.amount for row in self.held.values())

    def others(self, me: str) -> list[str]:
        """Return the other processes that hold something."""
        return [by for by, row in self.held.items() if by != me and row.amount != NOTHING]

    def strike(self, other: str, owed: Used, now: float) -> None:
        """Let a process hold nothing, and count what it owes: if it lives after all, it will not count that again."""
        struck = self.held[other]
        counted = replace(struck.counted)
        counted.add(owed)
        self.held[other] = Held(struck.write, now, NOTHING, counted)
        self.count(owed)

    def forget(self, now: float) -> None:
        """Strike out processes that have held nothing for a while."""
        for by in [by for by, row in self.held.items() if row.amount == NOTHING and now - row.at > IDLE_S]:
            del self.held[by]

    def grow(self, now: float, *, requests_per_minute: float, tokens_per_minute: float) -> None:
        """Let the limits grow back until `now`. What is not limited (0) is not counted; a limit's debt ends with it."""
        passed = max(0.0, now - self.at) if self.at else 0.0
        self.requests = min(max(0.0, self.requests - passed * requests_per_minute / 60), requests_per_minute)
        self.tokens = max(0.0, self.tokens - passed * tokens_per_minute / 60) if tokens_per_minute else 0.0
        self.at = max(self.at, now)


def _held(write: int, at: float, tokens: int, nanos: int, calls: int, *counted: int) -> Held:
    return Held(write, at, Amount(tokens, nanos, calls), Used(0, *counted))


def _sum(amounts: Iterable[Amount]) -> Amount:
    total = NOTHING
    for amount in amounts:
        total += amount
    return total


def began(period: Period, now: float) -> int:
    """Return when the period that `now` is in began, in seconds of the epoch, by UTC."""
    if period == "ever":
        return 0
    if period == "month":
        return _month(int(now // _DAY_S))
    length = 3600 if period == "hour" else _DAY_S
    return int(now // length) * length


@lru_cache(maxsize=4)
def _month(day: int) -> int:
    """Return when the month of a day of the epoch began."""
    return int(datetime.fromtimestamp(day * _DAY_S, UTC).replace(day=1).timestamp())


def ends(period: Period, since: int) -> datetime | None:
    """Return when a period that began at `since` ends."""
    if period == "ever":
        return None
    start = datetime.fromtimestamp(since, UTC)
    if period == "month":
        return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    return start + timedelta(hours=1 if period == "hour" else 24)

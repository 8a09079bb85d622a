"""Cron expressions: which instants they mean, also where clocks are put forward and back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from natscope.contracts.errors import ScheduleInvalid

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_HORIZON_DAYS = 9 * 366
"""Further apart than 29 February in 2096 and 2104, nothing comes."""
_TWICE = timedelta(hours=3)
"""For longer than this, no clock shows the same again."""
_PUT_FORWARD = timedelta(hours=25)
"""By more than this, no clock is put forward; Samoa's once left out a day."""


@dataclass(frozen=True)
class Cron:
    """An expression, read. Where day of the month and day of the week are both restricted, either will do.

    An expression with `*` in minute or hour goes by time that passes: what does not exist when clocks are put forward
    is left out, what exists twice counts twice. Any other goes by the clock: what does not exist comes as much later as
    the clock is put forward, what exists twice counts once. Source: crontab(5) and cron(8) of Debian.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    by_time: bool
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """Return the first instant after `moment`, in UTC; None if there is none."""
        return min(self._beside(moment, 1), default=None)

    def upto(self, moment: datetime) -> datetime | None:
        """Return the last instant that is not after `moment`, in UTC; None if there is none."""
        return max(self._beside(moment, -1), default=None)

    def _beside(self, moment: datetime, step: int) -> list[datetime]:
        """Return the nearest instants on one side of `moment`; the clock's order need not be theirs."""
        reach = _TWICE if self.by_time else _PUT_FORWARD
        first: datetime | None = None
        found: list[datetime] = []
        for local in self._clock(moment.astimezone(self.zone).replace(tzinfo=None) - step * reach, step):
            if first is not None and abs(local - first) > reach:
                break
            fitting = [each for each in self._instants(local) if (each > moment) == (step > 0)]
            if fitting:
                first = first or local
                found += fitting
        return found

    def _clock(self, start: datetime, step: int) -> Iterator[datetime]:
        """Give what the clock shows from `start` on, or back, whenever the expression fits."""
        for days in range(_HORIZON_DAYS):
            day = start.date() + timedelta(days=step * days)
            if day.month not in self.months or not self._fits(day):
                continue
            for hour, minute in product(self.hours[::step], self.minutes[::step]):
                local = datetime.combine(day, time(hour, minute))
                if (local - start) * step >= timedelta():
                    yield local

    def _instants(self, local: datetime) -> list[datetime]:
        first, second = (local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first.astimezone(self.zone).replace(tzinfo=None) != local:
            return [] if self.by_time else [first]
        return [first, second] if self.by_time and second != first else [first]

    def _fits(self, day: date) -> bool:
        month, week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return month or week if self.either else month and week


def parse(expression: str, zone: ZoneInfo) -> Cron:
    """Return a cron expression of five fields, or one of its short names, read.

    Raises:
        ScheduleInvalid: it is none; the message names the field.
    """
    fields = _SHORT.get(expression.strip().lower(), expression).lower().split()
    if len(fields) != len(_FIELDS):
        raise ScheduleInvalid(f"{expression!r} has {len(fields)} fields", remedy="minute, hour, day, month, weekday")
    minutes, hours, days, months, weekdays = (_values(*each) for each in zip(fields, _FIELDS, strict=True))
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(each % 7 for each in weekdays),
        either=not fields[2].startswith("*") and not fields[4].startswith("*"),
        by_time=fields[0].startswith("*") or fields[1].startswith("*"),
        zone=zone,
    )


def _values(text: str, field: tuple[str, int, int, dict[str, int]]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        low, high = (field[1:3]) if span == "*" else (_number(first, field), _number(last if dash else first, field))
        if slash and not dash and span != "*":
            high = field[2]
        if dash and last == "sun":
            high = 7
        width = _number(step, ("step", 1, field[2], {})) if slash else 1
        if low > high:
            raise ScheduleInvalid(f"{part!r} as {field[0]} runs backwards")
        found.update(range(low, high + 1, width))
    return found


def _number(text: str, field: tuple[str, int, int, dict[str, int]]) -> int:
    name, low, high, names = field
    value = names.get(text, int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1)
    if not low <= value <= high:
        raise ScheduleInvalid(f"{text!r} is no {name}", remedy=f"{low} to {high}, `*`, `a-b`, `a,b`, `*/n`")
    return value

"""Cron expressions: what they mean by the clock, and where the clock is put forward and back."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natscope.contracts.errors import ScheduleInvalid
from services.agent.scheduling.cron import Cron, parse

BERLIN = "Europe/Berlin"


def cron(expression: str, zone: str = "UTC") -> Cron:
    return parse(expression, ZoneInfo(zone))


def times(expression: str, start: str, count: int, zone: str = "UTC") -> list[str]:
    """Return the next times as their own zone's clock shows them."""
    moment, found = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)), list[str]()
    for _ in range(count):
        after = cron(expression, zone).after(moment)
        assert after is not None
        found.append(f"{after.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M%z}")
        moment = after
    return found


class TestAnExpression:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("0 9 * * mon-fri", ["2026-11-23 09:00+0000", "2026-11-24 09:00+0000"]),
            ("*/20 8-9 * * *", ["2026-11-22 08:00+0000", "2026-11-22 08:20+0000"]),
            ("5/25 0 1 * *", ["2026-12-01 00:05+0000", "2026-12-01 00:30+0000"]),
            ("0 0 29 2 *", ["2028-02-29 00:00+0000", "2032-02-29 00:00+0000"]),
            ("0 12 13 * FRI", ["2026-11-27 12:00+0000", "2026-12-04 12:00+0000"]),
            ("30 6 */10 JAN,jul *", ["2027-01-01 06:30+0000", "2027-01-11 06:30+0000"]),
            ("0 0 * * 7", ["2026-11-22 00:00+0000", "2026-11-29 00:00+0000"]),
            ("0 0 * * sat-sun", ["2026-11-22 00:00+0000", "2026-11-28 00:00+0000"]),
            ("@monthly", ["2026-12-01 00:00+0000", "2027-01-01 00:00+0000"]),
            ("@hourly", ["2026-11-21 13:00+0000", "2026-11-21 14:00+0000"]),
        ],
    )
    def test_means_what_crontab_says(self, expression: str, expected: list[str]) -> None:
        assert times(expression, "2026-11-21T12:30", 2) == expected

    def test_with_both_kinds_of_day_means_either(self) -> None:
        assert [each[:10] for each in times("0 0 1 * mon", "2026-11-29T00:00", 3)] == [
            "2026-11-30",
            "2026-12-01",
            "2026-12-07",
        ]

    @pytest.mark.parametrize(
        "expression",
        [
            *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
            *("a * * * *", "5-1 * * * *", "*/0 * * * *", "1- * * * *", "-1 * * * *", "1,,2 * * * *", "@often"),
            *("* * * foo *", "½ * * * *"),
        ],
    )
    def test_that_is_none_is_refused(self, expression: str) -> None:
        with pytest.raises(ScheduleInvalid):
            cron(expression)

    def test_that_never_comes_has_no_time(self) -> None:
        assert cron("0 0 30 2 *").after(datetime(2026, 1, 1, tzinfo=UTC)) is None


class TestAClockPutForward:
    """Berlin, 2026-03-29: 02:00 is followed by 03:00."""

    def test_puts_a_fixed_time_off_by_as_much(self) -> None:
        assert times("30 2 * * *", "2026-03-28T12:00", 2, BERLIN) == ["2026-03-29 03:30+0200", "2026-03-30 02:30+0200"]

    def test_leaves_nothing_out_and_doubles_nothing_of_what_goes_by_time(self) -> None:
        assert times("*/30 * * * *", "2026-03-29T01:00", 3, BERLIN) == [
            "2026-03-29 01:30+0100",
            "2026-03-29 03:00+0200",
            "2026-03-29 03:30+0200",
        ]

    def test_by_a_whole_day_puts_it_off_by_a_day(self) -> None:
        assert times("0 9 30 12 *", "2011-12-01T00:00", 1, "Pacific/Apia") == ["2011-12-31 09:00+1400"]


class TestAClockPutBack:
    """Berlin, 2026-10-25: 03:00 is followed by 02:00."""

    def test_does_not_repeat_a_fixed_time(self) -> None:
        assert times("30 2 * * *", "2026-10-24T12:00", 2, BERLIN) == ["2026-10-25 02:30+0200", "2026-10-26 02:30+0100"]

    def test_repeats_what_goes_by_time(self) -> None:
        assert times("0 * * * *", "2026-10-25T01:30", 3, BERLIN) == [
            "2026-10-25 02:00+0200",
            "2026-10-25 02:00+0100",
            "2026-10-25 03:00+0100",
        ]


_FIELD = {
    "minute": st.sampled_from(["*", "0", "*/7", "13,44", "50-59", "3/20"]),
    "hour": st.sampled_from(["*", "2", "1-3", "*/5", "23", "0,12"]),
    "day": st.sampled_from(["*", "1", "29-31", "*/9"]),
    "month": st.sampled_from(["*", "3,10", "2", "*/4"]),
    "weekday": st.sampled_from(["*", "0", "mon-wed", "5,6"]),
}


def _instants(expression: Cron, first: date, days: int) -> list[datetime]:
    """Return every instant of some days, found by looking at each minute that passes, or that the clock shows."""
    zone, found = expression.zone, set[datetime]()

    def fits(local: datetime) -> bool:
        month, week = local.day in expression.days, local.isoweekday() % 7 in expression.weekdays
        day = month or week if expression.either else month and week
        shown = local.minute in expression.minutes and local.hour in expression.hours
        return shown and local.month in expression.months and day

    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    for minute in range(days * 1440):
        if expression.by_time:
            moment = start + timedelta(minutes=minute)
            if fits(moment.astimezone(zone)):
                found.add(moment)
        else:
            local = start.replace(tzinfo=None) + timedelta(minutes=minute)
            if fits(local):
                found.add(local.replace(tzinfo=zone).astimezone(UTC))
    return sorted(found)


class TestEveryExpression:
    @settings(max_examples=25, deadline=None)
    @given(
        fields=st.tuples(*_FIELD.values()),
        zone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Havana"]),
        first=st.sampled_from(
            [date(2026, 3, 7), date(2026, 3, 28), date(2026, 10, 3), date(2026, 10, 24), date(2026, 11, 1)]
        ),
        minute=st.integers(1440, 2 * 1440),
    )
    def test_gives_what_looking_at_each_minute_gives(
        self, fields: tuple[str, ...], zone: str, first: date, minute: int
    ) -> None:
        expression = cron(" ".join(fields), zone)
        moment = datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(minutes=minute)
        all_ = _instants(expression, first - timedelta(days=1), 5)
        inside = [each for each in all_ if abs(each - moment) < timedelta(hours=20)]
        before, after = [each for each in inside if each <= moment], [each for each in inside if each > moment]
        if before:
            assert expression.upto(moment) == before[-1]
        if after:
            assert expression.after(moment) == after[0]

"""When a schedule's tasks are to be submitted."""

from datetime import UTC, datetime, timedelta

import pytest

from natscope.contracts.errors import ScheduleInvalid
from natscope.contracts.schedule import Kept, Schedule
from services.agent.scheduling.times import due_time, next_time

MADE = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def kept(next_at: datetime | None = None, **when: object) -> Kept:
    schedule = Schedule.model_validate({"name": "s", "agent": "assistant", "content": "Go."} | when)
    return Kept(schedule=schedule, made_at=MADE, next_at=next_at)


def at(seconds: float) -> datetime:
    return MADE + timedelta(seconds=seconds)


class TestTheNextTime:
    @pytest.mark.parametrize(("after", "expected"), [(0, 90), (89.9, 90), (90, 180), (1000, 1080), (-5, 90)])
    def test_of_an_interval_is_counted_from_when_it_was_made(self, after: float, expected: float) -> None:
        assert next_time(kept(every=90), at(after)) == at(expected)

    def test_of_a_cron_expression_is_its_zones(self) -> None:
        found = next_time(kept(cron="0 14 * * *", zone="Europe/Berlin"), MADE)
        assert found == datetime(2026, 11, 21, 13, 0, tzinfo=UTC)

    def test_of_what_comes_once_is_its_time_until_it_has_come(self) -> None:
        once = kept(at=at(10))
        assert [next_time(once, at(second)) for second in (9, 10)] == [at(10), None]

    @pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
    def test_of_a_zone_that_is_none_is_refused(self, zone: str) -> None:
        with pytest.raises(ScheduleInvalid):
            next_time(kept(cron="@daily", zone=zone), MADE)


class TestWhatIsDue:
    def test_is_nothing_before_its_time(self) -> None:
        assert due_time(kept(at(90), every=90), at(89)) is None

    def test_is_nothing_while_it_is_paused(self) -> None:
        assert due_time(kept(at(90), every=90).model_copy(update={"paused": True}), at(91)) is None

    @pytest.mark.parametrize("missed", ["skip", "once"])
    def test_is_its_time_if_that_has_just_come(self, missed: str) -> None:
        assert due_time(kept(at(90), every=90, missed=missed), at(120)) == at(90)

    @pytest.mark.parametrize(("missed", "expected"), [("skip", None), ("once", 900)])
    def test_of_many_that_were_missed_is_the_last_or_none(self, missed: str, expected: float | None) -> None:
        found = due_time(kept(at(90), every=900, missed=missed), at(1000))
        assert found == (None if expected is None else at(expected))

    def test_of_a_cron_expression_is_its_last_time(self) -> None:
        found = due_time(kept(at(60), cron="*/5 * * * *"), at(1234))
        assert found == at(1200)

    def test_of_what_comes_once_is_its_time(self) -> None:
        assert due_time(kept(at(60), at=at(60)), at(5000)) == at(60)

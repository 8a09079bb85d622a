"""When a schedule's tasks are to be submitted: the next time, and the last one that has come."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from natscope.contracts.blocks import is_blank
from natscope.contracts.errors import ScheduleInvalid
from natscope.contracts.schedule import Kept, Schedule
from services.agent.scheduling.cron import Cron, parse

LATE = timedelta(seconds=60)
"""A time that passed longer ago was missed."""
SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=36_500)


def check(schedule: Schedule) -> None:
    """Refuse a schedule that does not say when, or what.

    Raises:
        ScheduleInvalid: by none of its kinds or by several, more than once a second, or less than once in a century.
    """
    if sum(each is not None for each in (schedule.cron, schedule.every, schedule.at)) != 1:
        raise ScheduleInvalid(f"schedule {schedule.name!r} must say when", remedy="one of `cron`, `every` and `at`")
    if is_blank(schedule.content):
        raise ScheduleInvalid(f"schedule {schedule.name!r} asks nothing", remedy="say what is asked each time")
    if schedule.every is not None and schedule.every < SHORTEST:
        raise ScheduleInvalid(f"schedule {schedule.name!r} comes too often", remedy="once a second at most")
    if schedule.every is not None and schedule.every > LONGEST:
        raise ScheduleInvalid(f"schedule {schedule.name!r} comes too seldom", remedy="once in 36,500 days at least")


def cron_of(schedule: Schedule) -> Cron:
    """Return the schedule's cron expression, in its zone.

    Raises:
        ScheduleInvalid: expression or zone is none.
    """
    try:
        zone = ZoneInfo(schedule.zone)
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleInvalid(f"there is no time zone {schedule.zone!r}", remedy="such as `Europe/Berlin`") from error
    return parse(schedule.cron or "", zone)


def next_time(kept: Kept, after: datetime) -> datetime | None:
    """Return the schedule's first time after `after`; None if there is none."""
    schedule = kept.schedule
    if schedule.every is not None:
        passed = max(0, (after - kept.made_at) // schedule.every)
        return kept.made_at + (passed + 1) * schedule.every
    if schedule.at is not None:
        return schedule.at if schedule.at > after else None
    return cron_of(schedule).after(after)


def due_time(kept: Kept, now: datetime) -> datetime | None:
    """Return the time whose task is to be submitted `now`: the last that has come, unless it was missed and is left."""
    schedule, latest = kept.schedule, kept.next_at
    if latest is None or latest > now or kept.paused:
        return None
    if schedule.every is not None:
        latest = kept.made_at + (now - kept.made_at) // schedule.every * schedule.every
    elif schedule.cron is not None:
        latest = cron_of(schedule).upto(now) or latest
    return None if schedule.missed == "skip" and now - latest > LATE else latest

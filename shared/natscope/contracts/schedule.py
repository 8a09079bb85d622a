"""Schedules: tasks that are submitted again and again, or once at a time that is far ahead."""

from typing import Annotated, Literal

from pydantic import Field

from natscope.contracts.agent import AgentName
from natscope.contracts.contract import Contract, Duration, Instant, Token
from natscope.contracts.door import Command
from natscope.contracts.message import Content
from natscope.contracts.task import ShortToken

ScheduleName = Annotated[Token, Field(max_length=40)]
"""Each task's id is the schedule's name and its time: `<name>-20261121T180000Z`."""


class Schedule(Contract):
    """When which task is submitted: by one of `cron`, `every` and `at`."""

    name: ScheduleName
    agent: AgentName
    content: Annotated[Content, Field(min_length=1)]
    session: ShortToken | None = None
    """The conversation that all its tasks belong to; None: each has one of its own."""
    tenant: ShortToken | None = None
    cron: str | None = None
    """Minute, hour, day of the month, month and day of the week (`0 9 * * mon-fri`), or `@hourly`, `@daily`, `@weekly`,
    `@monthly`, `@yearly`."""
    every: Duration | None = None
    """Counted from when it was made; at least a second."""
    at: Instant | None = None
    """Once."""
    zone: str = "UTC"
    """Whose clock `cron` is about: a name of the IANA database (`Europe/Berlin`)."""
    missed: Literal["skip", "once"] = "once"
    """What becomes of times that passed over a minute before anybody could submit: nothing, or the last of them."""


class Kept(Contract):
    """A schedule as the bucket keeps it."""

    schedule: Schedule
    made_at: Instant
    paused: bool = False
    next_at: Instant | None = None
    """When the next task is submitted, unless it is paused; None: never again."""
    last_at: Instant | None = None
    last_task: str | None = None
    """The task that was submitted last."""


class Name(Contract):
    """Names a schedule."""

    name: ScheduleName


class List(Contract):
    """Ask for all schedules."""


class Listed(Contract):
    """All schedules, by name."""

    schedules: list[Kept]


class Removed(Contract):
    """The schedule is gone; tasks it has submitted go on."""

    name: str


ADD = Command(
    template="schedule.add",
    summary="Make a schedule; making the same again changes nothing.",
    room="agent",
    ask=Schedule,
    answer=Kept,
    deadline_s=10,
)
LIST = Command(
    template="schedule.list", summary="List the schedules.", room="agent", ask=List, answer=Listed, deadline_s=10
)
PAUSE = Command(
    template="schedule.pause",
    summary="Submit no task of a schedule until it is resumed.",
    room="agent",
    ask=Name,
    answer=Kept,
    deadline_s=10,
)
RESUME = Command(
    template="schedule.resume",
    summary="Go on with a schedule; times that passed meanwhile were not missed.",
    room="agent",
    ask=Name,
    answer=Kept,
    deadline_s=10,
)
REMOVE = Command(
    template="schedule.remove", summary="Remove a schedule.", room="agent", ask=Name, answer=Removed, deadline_s=10
)

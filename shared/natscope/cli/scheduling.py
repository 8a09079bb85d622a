"""Schedules, on the screen."""

import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from natscope import client
from natscope.cli.asking import NAME, print_json
from natscope.cli.listing import listed, table_of
from natscope.cli.telling import printable
from natscope.contracts.schedule import Kept


@dataclass(frozen=True)
class When:
    """When a schedule comes, as `natscope schedule add` was told."""

    cron: str | None
    every_s: float | None
    at: str | None
    zone: str
    missed: Literal["skip", "once"]


async def add(name: str, agent: str, question: str, when: When, *, session: str | None, as_json: bool) -> None:
    """Make a schedule and tell its first time."""
    async with client.open(name=NAME) as house:
        kept = await house.schedules.add(
            name,
            agent,
            question,
            cron=when.cron,
            every=None if when.every_s is None else timedelta(seconds=when.every_s),
            at=None if when.at is None else datetime.fromisoformat(when.at),
            zone=when.zone,
            missed=when.missed,
            session=session,
        )
    if as_json:
        print_json(kept.model_dump(mode="json"))
        return
    sys.stderr.write(f"schedule {name} comes {_shown(kept.next_at)} for the first time\n")


async def ls(*, as_json: bool) -> None:
    """List the schedules."""
    async with client.open(name=NAME) as house:
        found = await house.schedules.list()
    table = table_of("schedule", "agent", "when", "next", "last task")
    for kept in found:
        coming = "paused" if kept.paused else _shown(kept.next_at)
        table.add_row(kept.schedule.name, kept.schedule.agent, _when(kept), coming, kept.last_task or "")
    listed(found, as_json, table, "no schedules")


async def pause(name: str) -> None:
    """Pause a schedule."""
    async with client.open(name=NAME) as house:
        await house.schedules.pause(name)
    sys.stderr.write(f"schedule {name} is paused\n")


async def resume(name: str) -> None:
    """Resume a schedule and tell its next time."""
    async with client.open(name=NAME) as house:
        kept = await house.schedules.resume(name)
    sys.stderr.write(f"schedule {name} comes {_shown(kept.next_at)} next\n")


async def rm(name: str) -> None:
    """Remove a schedule."""
    async with client.open(name=NAME) as house:
        await house.schedules.remove(name)
    sys.stderr.write(f"schedule {name} is removed\n")


def _when(kept: Kept) -> str:
    schedule = kept.schedule
    if schedule.cron is not None:
        return printable(f"{schedule.cron} ({schedule.zone})")
    return f"every {schedule.every.total_seconds():g} s" if schedule.every is not None else "once"


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}" if moment is not None else "never"

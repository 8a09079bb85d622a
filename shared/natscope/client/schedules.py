"""Schedules, for guests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from natscope.bus.connection import Bus
from natscope.bus.envelope import explain
from natscope.contracts import schedule
from natscope.contracts.blocks import ContentBlock
from natscope.contracts.errors import ScheduleInvalid


@dataclass(frozen=True)
class Schedules:
    """The schedules of a house."""

    bus: Bus
    tenant: str | None = None
    """Whose budgets the tasks of the schedules made here are held to."""

    async def add(  # noqa: PLR0913 - all of what a schedule may say, each by its name
        self,
        name: str,
        agent: str,
        content: str | Sequence[ContentBlock],
        *,
        cron: str | None = None,
        every: timedelta | None = None,
        at: datetime | None = None,
        zone: str = "UTC",
        missed: Literal["skip", "once"] = "once",
        session: str | None = None,
    ) -> schedule.Kept:
        """Have `agent` do something at the times that one of `cron` (by the clock of `zone`), `every` and `at` says.

        Made again, it is one schedule. `missed` says what becomes of times at which nobody could submit.

        Raises:
            ScheduleInvalid: it is in the past, never comes, or cannot be read; nothing was made.
            ScheduleConflict: one of that name says something else, and stands.
            AgentNotFound: no such agent; nothing was made.
        """
        try:
            body = schedule.Schedule.model_validate(
                {
                    **{"name": name, "agent": agent, "content": content, "session": session, "tenant": self.tenant},
                    **{"cron": cron, "every": every, "at": at, "zone": zone, "missed": missed},
                }
            )
        except ValidationError as error:
            told = explain(error).replace("Value error, ", "")
            raise ScheduleInvalid(f"the schedule is not right: {told}") from error
        return await self.bus.ask(schedule.ADD, body)

    async def list(self) -> list[schedule.Kept]:
        """Return all schedules, by name."""
        return (await self.bus.ask(schedule.LIST, schedule.List())).schedules

    async def pause(self, name: str) -> schedule.Kept:
        """Submit no task of a schedule until it is resumed; ScheduleNotFound if there is none."""
        return await self.bus.ask(schedule.PAUSE, _named(name))

    async def resume(self, name: str) -> schedule.Kept:
        """Go on with a schedule; ScheduleNotFound if there is none."""
        return await self.bus.ask(schedule.RESUME, _named(name))

    async def remove(self, name: str) -> None:
        """Remove a schedule; ScheduleNotFound if there is none. Tasks it has submitted go on."""
        await self.bus.ask(schedule.REMOVE, _named(name))


def _named(name: str) -> schedule.Name:
    try:
        return schedule.Name(name=name)
    except ValidationError as error:
        raise ScheduleInvalid(f"no schedule has the name {name!r}: {explain(error)}") from error

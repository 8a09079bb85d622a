"""The schedules: made, listed, paused, resumed and removed, in a bucket in which only who has read may write."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.connection import refused
from natscope.bus.envelope import CLAIM_BYTES, Headers, read
from natscope.bus.ledger import latest
from natscope.bus.streams import SCHEDULES
from natscope.contracts.contract import now
from natscope.contracts.errors import (
    BodyInvalid,
    BodyTooLarge,
    BusUnavailable,
    RunFenced,
    ScheduleConflict,
    ScheduleInvalid,
    ScheduleNotFound,
)
from natscope.contracts.schedule import Kept, Listed, Removed, Schedule
from services.agent.registry import Agents
from services.agent.scheduling.times import check, next_time

log = logging.getLogger(__name__)

PREFIX = f"$KV.{SCHEDULES}."
STREAM = f"KV_{SCHEDULES}"


@dataclass(frozen=True)
class Entry:
    """A schedule and its revision."""

    kept: Kept
    revision: int


class Schedules:
    """The schedules of the house."""

    def __init__(self, bus: Bus, agents: Agents) -> None:
        self._bus = bus
        self._agents = agents

    async def add(self, schedule: Schedule) -> Kept:
        """Make a schedule and return it with its first time; the same again changes nothing.

        Raises:
            ScheduleInvalid: it is in the past, never comes, or its expression or zone is none.
            ScheduleConflict: one of that name says something else.
            AgentNotFound, BodyTooLarge: nothing was made.
        """
        check(schedule)
        await self._agents.get(schedule.agent)
        if len(schedule.model_dump_json()) > CLAIM_BYTES:
            raise BodyTooLarge(f"a schedule has {CLAIM_BYTES:,} bytes at most", remedy="name files by their address")
        made_at = now().replace(microsecond=0)
        kept = Kept(schedule=schedule, made_at=made_at)
        found = await self._find(schedule.name)
        if found is not None and found.kept is not None:
            return _same(found.kept, schedule)
        first = next_time(kept, now())
        if first is None:
            raise ScheduleInvalid(f"schedule {schedule.name!r} never comes", remedy="name a time that is to come")
        kept = kept.model_copy(update={"next_at": first})
        if not await self.write(kept, found.revision if found is not None else 0):
            return await self.add(schedule)
        return kept

    async def listed(self) -> Listed:
        """Return all schedules, by name."""
        kept = [entry.kept for entry in await self.all()]
        return Listed(schedules=sorted(kept, key=lambda each: each.schedule.name))

    async def pause(self, name: str) -> Kept:
        """Submit no task of a schedule until it is resumed."""
        return await self._change(name, lambda kept: kept.model_copy(update={"paused": True}))

    async def resume(self, name: str) -> Kept:
        """Go on with a schedule from now on.

        Raises:
            ScheduleInvalid: no time is to come any more.
        """

        def resumed(kept: Kept) -> Kept:
            if not kept.paused:
                return kept
            following = next_time(kept, now())
            if following is None:
                raise ScheduleInvalid(f"schedule {name!r} never comes again", remedy="remove it, and make another")
            return kept.model_copy(update={"paused": False, "next_at": following})

        return await self._change(name, resumed)

    async def remove(self, name: str) -> Removed:
        """Remove a schedule; tasks it has submitted go on."""
        while True:
            found = await self.get(name)
            if await self._store(name, b"", {"KV-Operation": "DEL"}, found.revision):
                return Removed(name=name)

    async def get(self, name: str) -> Entry:
        """Return a schedule as it is now.

        Raises:
            ScheduleNotFound: there is none of that name.
        """
        found = await self._find(name)
        if found is None or found.kept is None:
            raise ScheduleNotFound(f"there is no schedule {name!r}", remedy="`natscope schedule ls` lists them")
        return Entry(found.kept, found.revision)

    async def all(self) -> list[Entry]:
        """Return all schedules; what cannot be read is passed over.

        Raises:
            BusUnavailable: the bucket cannot be read.
        """
        found: dict[str, Entry] = {}
        sequence = 1
        while True:
            try:
                each = await self._bus.js.get_msg(STREAM, seq=sequence, subject=f"{PREFIX}*", next=True, direct=True)
            except js_errors.NotFoundError:
                return list(found.values())
            except (nats_errors.Error, js_errors.Error) as error:
                raise BusUnavailable(f"the schedules cannot be read: {error!r}") from error
            sequence = int(each.seq or 0) + 1
            # one that is written meanwhile comes a second time
            found.pop(each.subject or "", None)
            if (each.headers or {}).get("KV-Operation"):
                continue
            try:
                kept = read(Kept, each.data or b"", where=each.subject or "")
                found[each.subject or ""] = Entry(kept, int(each.seq or 0))
            except BodyInvalid as error:
                log.warning("a schedule is passed over", extra={"reason": error.message})

    async def write(self, kept: Kept, revision: int) -> bool:
        """Write a schedule over what had `revision` (0: nothing); False if somebody else was first."""
        return await self._store(kept.schedule.name, kept.model_dump_json().encode(), {}, revision)

    async def _change(self, name: str, change: Callable[[Kept], Kept]) -> Kept:
        while True:
            found = await self.get(name)
            changed = change(found.kept)
            if changed == found.kept or await self.write(changed, found.revision):
                return changed

    async def _find(self, name: str) -> "_Found | None":
        found = await latest(self._bus, STREAM, PREFIX + name)
        if found is None:
            return None
        gone = bool((found.headers or {}).get("KV-Operation"))
        kept = None if gone else read(Kept, found.data or b"", where=f"schedule {name!r}")
        return _Found(kept, int(found.seq or 0))

    async def _store(self, name: str, data: bytes, headers: Headers, revision: int) -> bool:
        subject = PREFIX + name
        headers = headers | {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        try:
            await self._bus.inbox.store(subject, data, headers)
        except js_errors.APIError as error:
            told = refused(error, subject)
            if isinstance(told, RunFenced):
                return False
            raise told from error
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"the schedules cannot be written: {error!r}") from error
        return True


@dataclass(frozen=True)
class _Found:
    kept: Kept | None
    """None: it was removed."""
    revision: int


def _same(kept: Kept, schedule: Schedule) -> Kept:
    if kept.schedule != schedule:
        raise ScheduleConflict(
            f"schedule {schedule.name!r} says something else", remedy=f"`natscope schedule rm {schedule.name}` first"
        )
    return kept

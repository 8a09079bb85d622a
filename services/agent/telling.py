"""Telling clients what happens: events in order, kept in their stream, without holding the run up."""

import asyncio
import logging

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.inbox import acknowledged
from natscope.contracts.event import HAPPENED, TaskEvent, ToolMissing
from services.agent.registry import Missing

log = logging.getLogger(__name__)

FLUSH_S = 5.0


class Teller:
    """The events of one task. Each has an id made of what it tells, so that after a crash nothing is told twice."""

    def __init__(self, bus: Bus, task: str) -> None:
        self._bus = bus
        self._task = task
        self._subject = HAPPENED.at(task)
        self._pending: list[tuple[dict[str, str], bytes, asyncio.Future[Msg]]] = []

    async def tell(self, what: TaskEvent) -> None:
        """Publish an event; it is in the stream when `flush` has returned."""
        headers = {"Nats-Msg-Id": f"{self._task}:{what.id}"}
        data = await self._bus.envelope.pack(what, headers)
        self._pending.append((headers, data, await self._bus.inbox.post(self._subject, data, headers)))

    async def missing(self, tool: Missing) -> None:
        """Tell that nobody serves a tool."""
        id = f"missing.{tool.name}{'.awaited' if tool.awaited else ''}"
        told = ToolMissing(id=id, task_id=self._task, tool=tool.name, awaited=tool.awaited, nearest=tool.nearest)
        await self.tell(told)

    async def tell_delta(self, what: TaskEvent) -> None:
        """Publish a piece of something that is told whole at its end."""
        await self._bus.nc.publish(self._subject, what.__pydantic_serializer__.to_json(what))

    async def flush(self) -> None:
        """Return when every event is kept; what was not acknowledged is published once more."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        await asyncio.wait([answer for _, _, answer in pending], timeout=FLUSH_S)
        for headers, data, answer in pending:
            if _kept(answer):
                continue
            try:
                await self._bus.inbox.store(self._subject, data, headers)
            except (nats_errors.Error, js_errors.Error) as error:
                log.warning("an event was not kept", extra={"task": self._task, "reason": repr(error)})


def _kept(answer: "asyncio.Future[Msg]") -> bool:
    if not answer.done():
        answer.cancel()
        return False
    try:
        acknowledged(answer.result())
    except js_errors.Error:
        return False
    return True

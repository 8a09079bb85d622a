"""Tasks whose time has not come: set aside in a stream of their own, so that they stand in nobody's way."""

import logging
from collections.abc import Mapping
from datetime import timedelta

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from opentelemetry.trace import SpanKind

from natscope.bus import Bus
from natscope.bus.envelope import digest_of_task, read
from natscope.bus.ledger import latest
from natscope.bus.timing import check_time, is_early
from natscope.contracts.contract import new_id, now
from natscope.contracts.errors import Broken, BusUnavailable, RunFenced, TaskConflict, Unavailable
from natscope.contracts.task import DEFER, SUBMIT_IN, Submit
from natscope.telemetry import names
from natscope.telemetry.propagation import extract
from services.agent.hearing import controls_for
from services.agent.intake import Task

log = logging.getLogger(__name__)

DUE = "Natscope-Due"
"""Header of a task whose time has come, so that a slower clock does not set it aside again."""
LOOK = timedelta(seconds=60)
"""How often a task that was set aside is looked after: it may have been interrupted while nobody could hear it."""
RETRY_S = 1.0


class Deferred:
    """The tasks that are set aside."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def took(self, task: Task, message: Msg) -> bool:
        """Set `task`, which came with `message`, aside if its time has not come; whether it is. Twice, it is one task.

        Raises:
            BodyInvalid: its time is too far ahead.
            TaskConflict: another task of its id is set aside.
            Overloaded, BusUnavailable: it is not kept, or nobody knows.
        """
        if not is_early(task.submit) or DUE in (message.headers or {}):
            return False
        check_time(task.submit)
        first = {"Nats-Expected-Last-Subject-Sequence": "0"}
        try:
            await self._bus.submit(DEFER, task.submit, task.agent, task.id, message_id=new_id(), headers=first)
        except RunFenced as error:
            found = await latest(self._bus, DEFER.stream, DEFER.at(task.agent, task.id))
            if found is not None and digest_of_task(await self._body(found.data or b"", found.headers)) != task.digest:
                raise TaskConflict(f"task id {task.id!r} is used by a task that waits for its time") from error
        return True

    async def look(self, message: Msg) -> None:
        """Put a task in line if its time has come, or if it was interrupted; else look at it again later.

        Raises:
            Refused: its body is gone, or is no task.
        """
        agent, task_id = DEFER.keys_in(message.subject)
        try:
            body = await self._body(message.data, message.headers)
            if is_early(body) and not (await controls_for(self._bus, task_id)).interrupted:
                await message.nak(_pause(body).total_seconds())
                return
            await self._release(agent, body, message.headers)
        except (Unavailable, Broken) as error:
            log.warning("a task that waits for its time is looked at again", extra={"reason": error.message})
            await message.nak(RETRY_S)
            return
        await message.ack()

    async def interrupt(self, task_id: str) -> None:
        """Put a task in line before its time, if it is set aside: there it ends as interrupted.

        Raises:
            BusUnavailable: the stream cannot be read or written; it is looked at within a minute.
        """
        subject = DEFER.at("any", task_id).replace(".any.", ".*.")
        try:
            found = await self._bus.js.get_msg(DEFER.stream, seq=1, subject=subject, next=True, direct=True)
        except js_errors.NotFoundError:
            return
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"tasks that wait for their time cannot be read: {error!r}") from error
        agent, _ = DEFER.keys_in(found.subject or "")
        await self._release(agent, await self._body(found.data or b"", found.headers), found.headers)
        try:
            await self._bus.js.purge_stream(DEFER.stream, subject=found.subject)
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"task {task_id!r} is still set aside: {error!r}") from error

    async def _release(self, agent: str, body: Submit, headers: Mapping[str, str] | None) -> None:
        sender = extract(headers)
        with self._bus.telemetry.span(
            f"process {DEFER.template}",
            kind=SpanKind.CONSUMER,
            attributes={names.MESSAGING_SYSTEM: "nats", names.TASK_ID: body.task_id, names.AGENT: agent},
            parent=sender,
            links=(sender,) if sender else (),
        ):
            mark = f"due:{body.task_id}:{digest_of_task(body)[:12]}"
            await self._bus.submit(SUBMIT_IN, body, agent, body.lane, message_id=mark, headers={DUE: "1"})

    async def _body(self, data: bytes, headers: Mapping[str, str] | None) -> Submit:
        return read(Submit, await self._bus.envelope.unpack(data, headers), where=DEFER.template)


def _pause(body: Submit) -> timedelta:
    left = body.not_before - now() if body.not_before is not None else timedelta()
    return min(LOOK, max(left, timedelta(milliseconds=5)))

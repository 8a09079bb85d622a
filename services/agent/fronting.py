"""Fronting for those who would rather ask than submit: the task is as durable, the wait is ours."""

import asyncio
import time

from nats.aio.msg import Msg

from natscope.bus import Bus
from natscope.bus.answering import Say
from natscope.bus.envelope import digest_of_task
from natscope.bus.ledger import latest
from natscope.bus.timing import check_time
from natscope.contracts.agent import ASK
from natscope.contracts.errors import DeadlineExceeded, TaskConflict
from natscope.contracts.event import HAPPENED
from natscope.contracts.task import FINISHED, SUBMIT_IN, Finished, Submit
from services.agent.registry import Agents

LOOK_S = 5.0
"""How often the record is looked at besides: what is said while we reconnect is not heard."""


class Fronting:
    """Submits for the asker, waits, and replies."""

    def __init__(self, bus: Bus, agents: Agents) -> None:
        self._bus = bus
        self._agents = agents

    async def converse(self, name: str, body: Submit, say: Say) -> None:
        """Reply with the outcome of the task; with `stream`, with its events before and an empty message after it.

        Raises:
            AgentNotFound: no such agent; nothing was submitted.
            BodyInvalid: its time is long ago or too far ahead; nothing was submitted.
            TaskConflict: the task's id was used with another body.
            DeadlineExceeded: no outcome within ten minutes; the task goes on.
            NatscopeError: why the task failed.
        """
        check_time(body)
        await self._agents.get(name)
        finished = asyncio.get_running_loop().create_future()

        async def hear_end(message: Msg) -> None:
            if not finished.done():
                finished.set_result(await self._bus.read(FINISHED, message))

        async def hear_event(message: Msg) -> None:
            await say(await self._bus.read(HAPPENED, message))

        ends = await self._bus.nc.subscribe(FINISHED.at(body.task_id), cb=hear_end)
        events = None
        if body.stream:
            events = await self._bus.nc.subscribe(HAPPENED.at(body.task_id), cb=hear_event)
        try:
            outcome = await self._submit_and_wait(name, body, finished)
        finally:
            await ends.unsubscribe()
            if events is not None:
                await events.drain()
        if outcome.failure is not None:
            raise outcome.failure.error()
        await say(outcome)
        if body.stream:
            await say(None)

    async def _submit_and_wait(self, name: str, body: Submit, finished: "asyncio.Future[Finished]") -> Finished:
        await self._bus.submit(SUBMIT_IN, body, name, body.lane, message_id=body.task_id)
        end = time.monotonic() + ASK.deadline_s - 1
        while (outcome := await self._recorded(body.task_id)) is None:
            try:
                async with asyncio.timeout(LOOK_S):
                    outcome = await asyncio.shield(finished)
                    break
            except TimeoutError as error:
                if time.monotonic() > end:
                    raise DeadlineExceeded(
                        f"task {body.task_id!r} has no outcome yet", remedy=f"listen on {FINISHED.at(body.task_id)!r}"
                    ) from error
        if outcome.digest and outcome.digest != digest_of_task(body):
            raise TaskConflict(f"task id {body.task_id!r} was used before with another body")
        return outcome

    async def _recorded(self, task_id: str) -> Finished | None:
        found = await latest(self._bus, FINISHED.stream or "", FINISHED.at(task_id))
        if found is None:
            return None
        data = await self._bus.envelope.unpack(found.data or b"", found.headers)
        return FINISHED.adapter.validate_json(data)

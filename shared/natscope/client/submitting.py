"""Submitting a task: the agent is known, the body is small enough, and an id means one task only."""

import time
from collections.abc import Callable
from typing import Any

from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.bus.envelope import digest_of_task, read
from natscope.bus.timing import check_time
from natscope.client import looking
from natscope.client.registry import known
from natscope.contracts import task
from natscope.contracts.blocks import is_blank
from natscope.contracts.errors import AgentNotFound, BodyInvalid, BodyTooLarge, TaskConflict

MAX_BODY_BYTES = 16 << 20
"""A task's body above this is refused (16 MiB); files over 64 KiB do not count, they travel as blobs."""

SEEN_S = 1.0


class Seen:
    """Agents that were there a moment ago, so that who submits task after task does not look for each of them.

    A task for one that was removed within the last second is submitted, and fails with `agent_not_found`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def has(self, agent: str) -> bool:
        """Return whether the agent was there within the last second."""
        return self._until.get(agent, float("-inf")) > self._clock()

    def note(self, agent: str) -> None:
        """Remember that the agent is there."""
        self._until[agent] = self._clock() + SEEN_S


async def submit(bus: Bus, agent: str, body: task.Submit, *, own_id: bool, seen: Seen | None = None) -> None:
    """Hand `body` to `agent`; when this returns, it is kept and will be finished.

    `own_id`: the task's id was chosen by the caller and may have been used before. Submitting the same again is fine.
    `seen` are the agents that need not be looked for.

    Raises:
        AgentNotFound: no agent of that name is applied; nothing was sent.
        BodyTooLarge: the body is over 16 MiB; nothing was sent.
        BodyInvalid: it is empty, or its time is long ago or too far ahead; nothing was sent.
        TaskConflict: the id was used for another task, which stands.
        Overloaded, BusUnavailable, ServiceNotRunning: as `Bus.submit`.
    """
    if is_blank(body.content):
        raise BodyInvalid("the task is empty", remedy="say what is asked")
    if seen is None or not seen.has(agent):
        await check_agent(bus, agent)
    if seen is not None:
        seen.note(agent)
    _check_size(body)
    check_time(body)
    if own_id and await _finished_before(bus, agent, body):
        return
    ack = await bus.submit(task.SUBMIT_IN, body, agent, body.lane, message_id=body.task_id)
    if ack.duplicate:
        await _check_same(bus, agent, body, ack.seq)


async def check_agent(bus: Bus, agent: str) -> None:
    """Refuse an agent that is not applied.

    Raises:
        AgentNotFound: no agent of that name is applied; the message names those that are.
    """
    names = await known(bus, agent)
    if agent not in names:
        told = ", ".join(sorted(names)) or "none"
        raise AgentNotFound(
            f"no agent {agent!r}; there are: {told}", remedy="apply its file: `natscope apply deploy/agents`"
        )


def _check_size(body: task.Submit) -> None:
    size = len(body.model_dump_json())
    if size > MAX_BODY_BYTES:
        raise BodyTooLarge(
            f"the task has {size:,} bytes; {MAX_BODY_BYTES:,} are allowed", remedy="attach what is long as a file"
        )


async def _finished_before(bus: Bus, agent: str, body: task.Submit) -> bool:
    found = await looking.last(bus, _stream(task.FINISHED), task.FINISHED.at(body.task_id))
    if found is None:
        return False
    outcome = await bus.read(task.FINISHED, found)
    if (outcome.agent, outcome.digest) != (agent, _digest(body)):
        raise _conflict(body.task_id)
    return True


async def _check_same(bus: Bus, agent: str, body: task.Submit, sequence: int) -> None:
    found = await _waiting(bus, sequence)
    if found is None:
        await _finished_before(bus, agent, body)
        return
    data = await bus.envelope.unpack(found.data, found.headers)
    try:
        same = _digest(read(task.Submit, data, where="task")) == _digest(body)
    except BodyInvalid:
        same = False
    if not same or looking.subject_of(found).split(".")[2] != agent:
        raise _conflict(body.task_id)


async def _waiting(bus: Bus, sequence: int) -> Msg | None:
    stream = task.SUBMIT_IN.stream
    found = await looking.look(bus, stream, {"seq": sequence, "batch": 1})
    return found[0] if found and looking.sequence_of(found[0]) == sequence else None


def _digest(body: task.Submit) -> str:
    """Return what the agent compares too: whether tokens are told does not make it another task."""
    return digest_of_task(body)


def _stream(event: Any) -> str:
    return event.stream


def _conflict(task_id: str) -> TaskConflict:
    return TaskConflict(
        f"task id {task_id!r} was used for another task, which stands", remedy="use a fresh id for a different task"
    )

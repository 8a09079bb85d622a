"""Tasks that are not finished: they lie in the work queue until their outcome is recorded."""

from dataclasses import dataclass

from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.bus.envelope import read
from natscope.client import looking
from natscope.contracts import task
from natscope.contracts.errors import BlobNotFound, BodyInvalid


@dataclass(frozen=True)
class Unfinished:
    """A task that waits or runs."""

    task_id: str
    """Empty for a body without one whose publisher gave no message id: the agent makes one up when it takes it."""
    agent: str
    session: str | None


async def unfinished(bus: Bus, *, limit: int) -> list[Unfinished]:
    """Return at most `limit` tasks that wait or run, the oldest first."""
    request = {"seq": 1, "batch": limit, "next_by_subj": f"{task.SUBMIT.head}.>"}
    found = await looking.look(bus, task.SUBMIT.stream, request)
    return [await _unfinished(bus, message) for message in found]


async def _unfinished(bus: Bus, message: Msg) -> Unfinished:
    tokens = looking.subject_of(message).split(".")
    session = tokens[3] if len(tokens) > 3 else None
    headers = message.headers or {}
    try:
        body = read(task.Submit, await bus.envelope.unpack(message.data, headers), where="task")
    except (BodyInvalid, BlobNotFound):
        return Unfinished(headers.get("Nats-Msg-Id", ""), tokens[2], session)
    task_id = body.task_id if "task_id" in body.model_fields_set else headers.get("Nats-Msg-Id", "")
    return Unfinished(task_id, tokens[2], body.session or (session if session != task_id else None))

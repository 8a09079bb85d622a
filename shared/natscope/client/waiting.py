"""Tasks that are not finished: they lie in a work queue until their outcome is recorded."""

from dataclasses import dataclass
from datetime import datetime

from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.bus.envelope import read
from natscope.bus.timing import is_early
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
    not_before: datetime | None = None
    """When it begins at the earliest, if it waits for that."""


async def unfinished(bus: Bus, *, limit: int) -> list[Unfinished]:
    """Return at most `limit` tasks that wait or run: those in line, the oldest first, then those not yet in line, and
    last those whose time has not come."""
    found: dict[str, Unfinished] = {}
    for door in (task.SUBMIT_IN, task.SUBMIT, task.DEFER):
        request = {"seq": 1, "batch": limit, "next_by_subj": door.wildcard}
        for message in await looking.look(bus, door.stream, request):
            waiting = await _unfinished(bus, message)
            found.setdefault(waiting.task_id or f"#{len(found)}", waiting)
    return list(found.values())[:limit]


async def _unfinished(bus: Bus, message: Msg) -> Unfinished:
    tokens = looking.subject_of(message).split(".")
    session = tokens[3] if len(tokens) > 3 and tokens[1] == "submit" else None
    headers = message.headers or {}
    try:
        body = read(task.Submit, await bus.envelope.unpack(message.data, headers), where="task")
    except (BodyInvalid, BlobNotFound):
        return Unfinished(headers.get("Nats-Msg-Id", ""), tokens[2], session)
    task_id = body.task_id if "task_id" in body.model_fields_set else headers.get("Nats-Msg-Id", "")
    early = body.not_before if is_early(body) else None
    return Unfinished(task_id, tokens[2], body.session or (session if session != task_id else None), early)

"""Tasks that nobody could carry out: looked at, submitted again, or dropped from the dead-letter stream."""

from nats import errors as nats_errors
from nats.js import errors as js_errors
from pydantic import ValidationError

from natscope.bus.connection import Bus
from natscope.bus.envelope import explain
from natscope.client import looking, submitting
from natscope.contracts import task
from natscope.contracts.errors import BodyInvalid, BusUnavailable, CredentialRefused, TaskNotFound

_STREAM = task.BURIED.stream or ""


async def buried(bus: Bus, *, limit: int = 20) -> list[task.Buried]:
    """Return the tasks that were buried last, the newest first; of a task that was buried twice, the last time."""
    newest = await looking.last(bus, _STREAM, task.BURIED.wildcard)
    end = looking.sequence_of(newest) if newest is not None else 0
    kept: dict[str, task.Buried] = {}
    window = limit
    while end > 0:
        found = await looking.page(bus, _STREAM, task.BURIED.wildcard, after=max(0, end - window))
        kept = {looking.subject_of(message): await bus.read(task.BURIED, message) for message in found}
        if len(kept) >= limit or window >= end:
            break
        window *= 4
    return list(reversed(kept.values()))[:limit]


async def burial(bus: Bus, task_id: str) -> task.Buried:
    """Return why a task was buried, and its body.

    Raises:
        TaskNotFound: no task of that id is buried.
    """
    return (await _find(bus, task_id))[1]


async def retry(bus: Bus, task_id: str) -> str:
    """Submit a buried task again as a new task, whose id is returned, and drop it; its own outcome stands.

    Begun twice, also after a crash in between, it is one new task.

    Raises:
        TaskNotFound: no task of that id is buried.
        BodyInvalid: its body is no task; it stays buried.
        AgentNotFound: its agent is not applied; it stays buried.
        CredentialRefused: this NATS user may not drop it. It was submitted.
    """
    sequence, found = await _find(bus, task_id)
    new = f"{task_id[:48]}-retry{sequence}"
    body = _body(found, new)
    await submitting.submit(bus, found.subject.split(".")[2], body, own_id=True)
    await _purge(bus, task_id)
    return new


async def drop(bus: Bus, task_id: str) -> None:
    """Remove a task from the dead-letter stream; its outcome stays.

    Raises:
        TaskNotFound: no task of that id is buried.
        CredentialRefused: this NATS user may not drop it.
    """
    await _find(bus, task_id)
    await _purge(bus, task_id)


async def _find(bus: Bus, task_id: str) -> tuple[int, task.Buried]:
    message = await looking.last(bus, _STREAM, task.BURIED.at(task_id))
    if message is None:
        raise TaskNotFound(f"no task {task_id!r} is buried", remedy="`natscope dlq ls` lists those that are")
    return looking.sequence_of(message), await bus.read(task.BURIED, message)


def _body(found: task.Buried, new: str) -> task.Submit:
    text = found.body.strip()
    try:
        if not text.startswith("{"):
            return task.Submit.model_validate({"task_id": new, "content": text})
        body = task.Submit.model_validate_json(text)
    except ValidationError as error:
        raise BodyInvalid(
            f"the body of {found.task_id!r} is no task: {explain(error)}", remedy="submit it anew, as it should be"
        ) from error
    return body.model_copy(update={"task_id": new})


async def _purge(bus: Bus, task_id: str) -> None:
    try:
        await bus.js.purge_stream(_STREAM, subject=task.BURIED.at(task_id))
    except (nats_errors.Error, js_errors.Error) as error:
        if "permissions violation" in str(bus.nc.last_error).lower():
            raise CredentialRefused(
                f"this NATS user may not drop task {task_id!r}", remedy="set NATS_USER=admin and its NATS_PASSWORD"
            ) from error
        raise BusUnavailable(f"dropping {task_id!r} was not acknowledged: {error!r}", remedy="drop it again") from error

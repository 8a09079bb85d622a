"""Taking tasks in: from whatever was published to a task with an id, a session and an agent."""

import json
from dataclasses import dataclass

from nats.aio.msg import Msg
from pydantic import JsonValue, ValidationError

from natscope.bus import Bus
from natscope.bus.envelope import digest_of_task, explain, read
from natscope.contracts.blocks import is_blank
from natscope.contracts.contract import TOKEN
from natscope.contracts.errors import BodyInvalid
from natscope.contracts.task import Submit

TOKENS = "use letters, digits, '-' and '_'"


@dataclass(frozen=True)
class Task:
    """A task as it was taken in."""

    agent: str
    submit: Submit
    digest: str
    """SHA-256 of the task, by which a second use of its id is told apart."""

    @property
    def id(self) -> str:
        """The task's id, which is the run's too."""
        return self.submit.task_id

    @property
    def alone(self) -> bool:
        """Whether its session is its own and ends with it."""
        return self.submit.session is None


def submitted(data: bytes, task_id: str, session: str | None = None) -> Submit:
    """Return the task in a body: JSON, or any other text as its one text block.

    A body without `task_id` gets the given one.

    Raises:
        BodyInvalid: it is empty, no UTF-8, or JSON that is no task.
    """
    text = data.decode(errors="replace").strip()
    if not text:
        raise _empty()
    if not text.startswith("{"):
        return _checked({"task_id": task_id, "content": text, "session": session})
    try:
        submit = Submit.model_validate_json(text)
    except ValidationError as error:
        raise _refused(error) from error
    if is_blank(submit.content):
        raise _empty()
    given: dict[str, JsonValue] = {}
    if "task_id" not in submit.model_fields_set:
        given["task_id"] = task_id
    if session is not None and submit.session is None:
        given["session"] = session
    return read(Submit, json.dumps(json.loads(text) | given).encode(), where="task") if given else submit


def _checked(fields: dict[str, str | None]) -> Submit:
    try:
        return Submit.model_validate(fields)
    except ValidationError as error:
        raise _refused(error) from error


def _empty() -> BodyInvalid:
    return BodyInvalid("the task is empty", remedy="publish text, or JSON with `content`")


def _refused(error: ValidationError) -> BodyInvalid:
    if error.errors()[0]["type"] == "json_invalid":
        return BodyInvalid(f"the task is no valid JSON: {explain(error)}", remedy="quote it, or publish plain text")
    return BodyInvalid(f"task: {explain(error)}", remedy="see docs/reference/subjects.md")


def id_of(message: Msg) -> str:
    """Return the id for a task that brings none: its message id, else one made of its place in the stream.

    Being taken in again after a crash, the same message gets the same id.
    """
    given = (message.headers or {}).get("Nats-Msg-Id", "")
    if len(given) <= 64 and TOKEN.match(given):
        return given
    place = message.metadata
    return f"t{int(place.timestamp.timestamp() * 1e6):x}-{place.sequence.stream}"


async def take(bus: Bus, message: Msg) -> Task:
    """Return the task in a message of the stream TASKS.

    Raises:
        BodyInvalid: it is no task.
        BlobNotFound: its body was stored and is gone.
    """
    tokens = message.subject.split(".")
    for token in tokens[2:]:
        if not TOKEN.match(token):
            raise BodyInvalid(f"{message.subject!r} names no agent or session: {token!r}", remedy=TOKENS)
    agent, session = tokens[2], tokens[3] if len(tokens) == 4 else None
    data = await bus.envelope.unpack(message.data, message.headers)
    task_id = id_of(message)
    submit = submitted(data, task_id)
    if session is not None and submit.session not in (None, session):
        raise BodyInvalid(f"the task names session {submit.session!r} but was published for {session!r}")
    if session is not None and submit.session is None and session != submit.task_id:
        submit = submitted(data, task_id, session)
    return Task(agent=agent, submit=submit, digest=digest_of_task(submit))

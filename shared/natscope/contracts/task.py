"""Tasks: what a client asks, and the one outcome it gets."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from natscope.contracts.blocks import is_blank
from natscope.contracts.contract import Contract, Instant, Token, new_id, now
from natscope.contracts.door import Durable, Event
from natscope.contracts.errors import Failure
from natscope.contracts.message import Content, Message
from natscope.contracts.model import Usage

ShortToken = Annotated[Token, Field(max_length=64)]
"""Ids that others are made of: a request id is a task id and a step."""


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of range") from error


MemberName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Seat(Contract):
    """A member's place in a team: what it says there (`tell_team`) and answers, the others hear."""

    hub: Token
    """Where the team speaks."""
    member: MemberName
    """What the member is called in the team."""
    purpose: str = ""
    """What the team is for."""


class Submit(Contract):
    """Ask an agent to do something."""

    task_id: ShortToken = Field(default_factory=new_id)
    """Submitting again under the same id does nothing more; with another body it is refused."""
    content: Annotated[Content, Field(min_length=1)]
    """What is asked. A file block's file is placed in the session's workspace."""
    session: ShortToken | None = None
    """The conversation it belongs to; None starts one of its own that ends with the task."""
    name: str = "user"
    """Who asks, as the agent is told."""
    tenant: ShortToken | None = None
    """Whose budgets and limits its model calls are held to; None: those of `default`."""
    not_before: Annotated[Instant, AfterValidator(_in_utc)] | None = None
    """It begins no earlier, and stands in line with its session from then on; a time in the past: at once."""
    stream: bool = False
    """Whether the model's tokens are told as events while it writes; steps are always told."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Input and output tokens that its run may spend, below what its agent's limits say."""
    usd: Annotated[float, Field(gt=0)] | None = None
    """Dollars that its run may spend, below what its agent's limits say."""
    asked_by: Annotated[list[str], Field(max_length=16)] = Field(default_factory=list[str])
    """The agents that ask through each other, the outermost first; empty: no agent asks."""
    awaited_by: Annotated[list[ShortToken], Field(max_length=16)] = Field(default_factory=list[ShortToken])
    """The tasks of those agents, which are told when this one waits for somebody."""
    step_of: ShortToken | None = None
    """The task whose plan it is a step of: its agent acts (`react`) and answers in words, however it was declared."""
    seat: Seat | None = None
    """The team for which a member is asked, in the session that it keeps for it."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def lane(self) -> str:
        """The session whose runs this one stands in line with."""
        return self.session or self.task_id


UNCOMPARED = {"stream", "tokens", "usd", "awaited_by"}
"""Fields that do not make it another task: how and to whom it is told, and what may be spent."""

Outcome = Literal["completed", "failed", "interrupted", "limited"]


class Finished(Contract):
    """The one terminal outcome of a task."""

    task_id: Token
    agent: str
    """Whom the task asked; if the conversation was handed over, `message.name` says who has answered."""
    session: str
    state: Outcome
    """`limited`: a limit was reached; the text is the last answer the model could give."""
    text: str = ""
    """The answer's text, for those who want no blocks."""
    message: Message | None = None
    output: JsonValue = None
    """The answer as a value, of an agent that declares what it looks like."""
    failure: Failure | None = None
    limit: str | None = None
    """Which limit was reached."""
    usage: Usage = Usage()
    cost_usd: float = 0.0
    """Of its model calls; those of models whose price is not known are left out."""
    model_calls: int = 0
    tool_calls: int = 0
    digest: str = ""
    """SHA-256 of the task's body, by which a second use of its id is told apart."""
    started_at: Instant = Field(default_factory=now)
    finished_at: Instant = Field(default_factory=now)


class Interrupt(Contract):
    """Stop a task: what was produced is kept, open calls are closed as interrupted."""

    reason: str = ""


def _not_blank(content: Content) -> Content:
    if is_blank(content):
        raise ValueError("the message is empty")
    return content


class Steer(Contract):
    """Slip a message in before the next model call; a run that was about to end goes on with it."""

    content: Annotated[Content, Field(min_length=1), AfterValidator(_not_blank)]
    """What the model is told. A file block's file is placed in the session's workspace."""
    name: str = "user"
    """Who says it, as the agent is told."""
    redirect: bool = False
    """Drop what is under way first: the model's reply, running tools, calls that wait for somebody; the conversation
    stays."""


class Buried(Contract):
    """A task that nobody could carry out, in the dead-letter stream."""

    task_id: str
    subject: str
    """Where it had been submitted."""
    failure: Failure
    deliveries: int
    body: str
    """The task's body as it came; text that is no UTF-8 has its bad bytes replaced."""


SUBMIT = Durable(
    template="task.submit.{agent}",
    summary="Ask an agent to do something. JSON, or plain text. Accepted means finished.",
    room="agent",
    ask=Submit,
    stream="TASKS",
)
SUBMIT_IN = Durable(
    template="task.submit.{agent}.{session}",
    summary="The same, in line with the other tasks of a session; a body that names none is of this session.",
    room="agent",
    ask=Submit,
    stream="LANES",
)
DEFER = Durable(
    template="task.defer.{agent}.{task}",
    summary="Where a task waits for its time (`not_before`). The agent service puts it here, and then in line.",
    room="agent",
    ask=Submit,
    stream="LATER",
)
INTERRUPT = Durable(
    template="task.interrupt.{task}",
    summary="Stop a task, whether it runs or still waits.",
    room="agent",
    ask=Interrupt,
    stream="CONTROL",
)
STEER = Durable(
    template="task.steer.{task}",
    summary="Slip a message into a task before its next model call, or redirect it, whether it runs, waits or parks.",
    room="agent",
    ask=Steer,
    stream="CONTROL",
)
FINISHED = Event[Finished](
    template="task.finished.{task}",
    summary="The one terminal outcome of a task; kept for seven days.",
    room="agent",
    body=Finished,
    stream="RESULTS",
)
BURIED = Event[Buried](
    template="task.buried.{task}",
    summary="A task that nobody could carry out, with the reason.",
    room="agent",
    body=Buried,
    stream="DLQ",
)

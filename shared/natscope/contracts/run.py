"""The run's journal: what happened, so that it need not happen again. Entries are deltas, never the whole context."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.agent import AgentSpec, Skill
from natscope.contracts.approval import Decision, Waiting
from natscope.contracts.blocks import ToolResultBlock
from natscope.contracts.contract import Contract, Instant, now
from natscope.contracts.door import Event
from natscope.contracts.errors import Failure
from natscope.contracts.hook import Answer, Point, Rewritten
from natscope.contracts.memory import Position
from natscope.contracts.message import Message
from natscope.contracts.model import FinishReason, Usage
from natscope.contracts.plan import StepName
from natscope.contracts.task import Finished, Submit
from natscope.contracts.tool import ToolSpec

VERSION = 1
"""Of the journal's schema, as this process writes it; entries of a later one it does not read."""


class _Entry(Contract):
    version: int = VERSION
    """Version of the journal's schema."""
    at: Instant = Field(default_factory=now)


class Started(_Entry):
    """The run exists: what was asked, of whom, and where its memory stood."""

    entry: Literal["started"] = "started"
    task: Submit
    digest: str
    """SHA-256 of the task's body."""
    agent: AgentSpec
    """As it was then; a change of the agent does not change runs under way."""
    tools: list[ToolSpec]
    """All it may ever be offered, those of groups that are off included."""
    skills: list[Skill] = Field(default_factory=list[Skill])
    context_size: int | None = None
    """Tokens of the model's window; None: not known."""
    past_tokens: int = 0
    """About how many tokens the session's past has."""
    position: Position
    """The session's past is recalled up to here, however often the run is resumed."""
    holder: str
    """Instance id of the process that runs it."""


class Part(Contract):
    """What an agent is, and may ever be offered, in a run that it takes over from another."""

    agent: AgentSpec
    tools: list[ToolSpec]
    skills: list[Skill] = Field(default_factory=list[Skill])
    context_size: int | None = None


class Resumed(_Entry):
    """Another process took the run over; whoever held it before can no longer write."""

    entry: Literal["resumed"] = "resumed"
    holder: str


class ModelReplied(_Entry):
    """A model call is done and paid."""

    entry: Literal["model_replied"] = "model_replied"
    step: int
    message: Message
    finish_reason: FinishReason
    usage: Usage
    cost_usd: float | None = None
    """None if the model's price is not known."""
    model: str


class ToolReturned(_Entry):
    """A tool call is done."""

    entry: Literal["tool_returned"] = "tool_returned"
    step: int
    result: ToolResultBlock
    backend: str | None = None
    usage: Usage = Usage()
    """What another agent has spent for it."""
    cost_usd: float = 0.0
    successor: Part | None = None
    """Who goes on with the run once all calls of the reply are done: the conversation was handed over."""


class StepEnded(_Entry):
    """A step of a plan has come to its end; the plan itself stands in the reply that made it."""

    entry: Literal["step_ended"] = "step_ended"
    plan: int
    """Counts the plans of the run from 1."""
    name: StepName
    """The step's id in its plan."""
    result: ToolResultBlock
    usage: Usage = Usage()
    """What its task has spent."""
    cost_usd: float = 0.0


Asks = Literal["model", "tool", "ask", "approve", "wake", "heard", "now", "random", "uuid", "return"]
"""What an agent's own function asks its `ctx` for; `wake`: to sleep until then · `return`: nothing, it has ended."""


class Performed(_Entry):
    """What an agent's own function has asked for is done; run again, the function is given this."""

    entry: Literal["performed"] = "performed"
    position: str
    """Where in the function: the number of the step in its branch, behind the branch's own (`2-0-1`)."""
    kind: Asks
    name: str
    """Of the model, the tool or the agent that was asked."""
    digest: str
    """SHA-256 of what was asked for; another one on a replay is another function."""
    value: JsonValue = None
    failure: Failure | None = None
    """What the function had raised instead."""
    usage: Usage = Usage()
    cost_usd: float = 0.0


class Hooked(_Entry):
    """Hooks have decided something of the run; whoever takes it over does not ask them again."""

    entry: Literal["hooked"] = "hooked"
    point: Point
    key: str
    """What it is about at that point: the step, the call, or the summary."""
    hooks: list[str]
    """Those that had a part in it."""
    answer: Answer
    """What came of all of them, without `messages`."""
    messages: Rewritten | None = None
    """Instead of them."""


class Judged(_Entry):
    """A critic has judged what is to be the run's answer."""

    entry: Literal["judged"] = "judged"
    step: int
    critic: int
    """Which of the agent's."""
    by: str
    """The agent or model that it is."""
    acceptable: bool
    objections: list[str] = Field(default_factory=list[str])
    failure: Failure | None = None
    """Why there is no verdict; then the answer stands."""
    usage: Usage = Usage()
    cost_usd: float | None = None
    model: str = ""


class Steered(_Entry):
    """A message was slipped in."""

    entry: Literal["steered"] = "steered"
    sequence: int = 0
    """Where it stands in the stream CONTROL; what stands before it was heard too."""
    message: Message
    redirect: bool = False
    """What was under way was dropped for it."""


class Heard(_Entry):
    """Something was said in a team of the run's, by somebody else."""

    entry: Literal["heard"] = "heard"
    hub: str
    sequence: int
    """Where it stands in the stream HUB; what stands before it was heard too."""
    message: Message


class Compressed(_Entry):
    """From here on the model is given a summary instead of what was said before."""

    entry: Literal["compressed"] = "compressed"
    summary: Message | None
    """None: none could be made; what was said before is left out."""
    covers: int
    """So many of the run's own messages, and all of the session's past."""
    upto: str | None = None
    """The id of the last message that it covers."""
    usage: Usage = Usage()
    cost_usd: float | None = None
    model: str = ""


class Parked(_Entry):
    """The run waits with these calls, and nobody holds it meanwhile."""

    entry: Literal["parked"] = "parked"
    step: int
    waiting: list[Waiting]
    heard: int = 0
    """Up to where in the stream CONTROL steering was heard."""
    told: int = 0
    """Up to where in the stream EVENTS all that was told of it is kept."""
    until: Instant | None = None
    unanswered: Literal["approve", "deny", "retry", "abort"] = "deny"

    @property
    def wakes_at(self) -> Instant | None:
        """When it goes on even if nothing happens before."""
        return min((each for each in (self.until, *(call.until for call in self.waiting)) if each), default=None)


class Decided(_Entry):
    """Somebody has decided on a call that the run waited with, or the time for that was up."""

    entry: Literal["decided"] = "decided"
    decision: Decision
    by: str


class Ended(_Entry):
    """The run is over; nothing follows."""

    entry: Literal["ended"] = "ended"
    outcome: Finished


JournalEntry = Annotated[
    Started
    | Resumed
    | ModelReplied
    | ToolReturned
    | StepEnded
    | Performed
    | Hooked
    | Judged
    | Steered
    | Heard
    | Compressed
    | Parked
    | Decided
    | Ended,
    Field(discriminator="entry"),
]
"""One entry, told apart by `entry`. A reader that meets an unknown one must not go on with the run."""

JOURNALED = Event[JournalEntry](
    template="run.journal.{run}",
    summary="The run's own log, written only by its holder, fenced by the subject's last sequence.",
    room="agent",
    body=JournalEntry,
    stream="JOURNAL",
)

"""Approvals: a person decides on calls that a run waits for."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.blocks import ContentBlock, ToolUseBlock, text_of
from natscope.contracts.contract import Contract, Instant
from natscope.contracts.door import Durable
from natscope.contracts.errors import Failure
from natscope.contracts.message import Content, Message
from natscope.contracts.tool import FINISH


class Rule(Contract):
    """What need not be asked again."""

    tool: str
    """A name; `*` stands for any characters."""
    pattern: str = ""
    """Empty: every call of the tool."""
    behaviour: Literal["allow", "ask", "deny"]


class Tried(Contract):
    """What was done about a failure before a person was asked."""

    tier: Literal[1, 2, 3]
    """1: providers were asked again, and others · 2: rules · 3: the model was told."""
    what: str
    error: str
    """Why that was not enough."""


class Trouble(Contract):
    """What a person needs to know who is to help a run on."""

    question: str
    step: int
    """The last model call that was answered."""
    failure: Failure
    """The run's outcome if it is aborted."""
    tried: list[Tried]
    last: Message
    """The last message that the model was given, as it would be given again."""


class Waiting(Contract):
    """A call that a run waits with."""

    call_id: str
    """Names the call within its task; a decision names it by this."""
    call: ToolUseBlock
    kind: Literal["approval", "answer", "task", "time", "needs_human"]
    """`approval`: whether it may be carried out · `answer`: its result, which somebody outside gives · `task`: another
    agent's outcome, `time`: that it is `until`; about these nobody decides · `needs_human`: no call, but help; the call
    holds the question."""
    until: Instant | None = None
    """How long this call waits at the most; None: as long as the others."""
    trouble: Trouble | None = None
    """With `needs_human`."""
    output_schema: dict[str, JsonValue] | None = None
    """JSON Schema of the run's answer, where a decision may give it: with `needs_human`, or with leave for `finish`."""
    tokens: int | None = None
    """What a `task` may spend of what the run has left; None: as its agent's limits say."""
    usd: float | None = None
    """The same in dollars."""
    task: str | None = None
    """With `task`: the id of the other agent's task."""
    child: str | None = None
    """The task that waits with it, where that is not the one that was looked at but one that it has asked, itself or
    through others; whoever decides past the client decides there."""
    reason: str = ""
    rules: list[Rule] = Field(default_factory=list[Rule])
    """Rules under which such calls would not be asked about again."""

    @property
    def is_for_somebody(self) -> bool:
        """Whether somebody is to decide on it."""
        return self.kind in ("approval", "answer", "needs_human")

    def takes(self, decision: "Decision") -> bool:
        """Return whether a decision is one that can be made about this."""
        if decision.verdict == "deny":
            return True
        if self.kind == "needs_human":
            said = decision.verdict in ("answer", "edit") and bool(decision.output)
            return said or decision.verdict in ("retry", "abort")
        return decision.verdict == ("answer" if self.kind == "answer" else "approve")

    def answers_in(self, decision: "Decision") -> list[JsonValue]:
        """Return what a decision gives as the run's answer, which has to fit `output_schema`; none where there is none.

        Words in the model's place are such an answer, and do not fit: they would be asked for again as a call.
        """
        if self.output_schema is None:
            return []
        if self.kind == "approval":
            return [decision.arguments] if decision.verdict == "approve" and decision.arguments is not None else []
        if decision.verdict != "answer":
            return []
        calls = [block for block in decision.output if isinstance(block, ToolUseBlock)]
        given: list[JsonValue] = [call.input for call in calls if call.name == FINISH]
        return given if calls else [text_of(decision.output)]


class Decision(Contract):
    """What is decided about one call."""

    call_id: str
    """As the waiting call has it; a decision about a call that does not wait changes nothing."""
    verdict: Literal["approve", "deny", "answer", "edit", "retry", "abort"]
    """`approve`, `deny` and `answer`: about calls. About `needs_human`: `answer` for the model, `edit` the last message
    and go on, `retry`, or `abort` (`deny` means the same)."""
    arguments: dict[str, JsonValue] | None = None
    """Approve, but with these arguments instead."""
    output: Content = Field(default_factory=list[ContentBlock])
    """With `answer`: the call's result, or the model's reply, which may hold calls. With `edit`: what the last message
    holds instead; of tool results, the output of the last, or of those that are named."""
    reason: str = ""
    """What the model is told, with `deny`."""
    rules: list[Rule] = Field(default_factory=list[Rule])
    """Hold for the rest of the run."""


class Decide(Contract):
    """Decide on one or more waiting calls."""

    decisions: Annotated[list[Decision], Field(min_length=1)]
    by: str = "user"


DECIDE = Durable(
    template="approval.decide.{task}",
    summary="Approve, deny or answer calls that a task waits with.",
    room="agent",
    ask=Decide,
    stream="CONTROL",
)

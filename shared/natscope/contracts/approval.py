"""Approvals: a person decides on calls that a run waits for."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.blocks import ContentBlock, ToolUseBlock
from natscope.contracts.contract import Contract
from natscope.contracts.door import Durable
from natscope.contracts.message import Content


class Rule(Contract):
    """What need not be asked again."""

    tool: str
    """A name; `*` stands for any characters."""
    pattern: str = ""
    """Empty: every call of the tool."""
    behaviour: Literal["allow", "ask", "deny"]


class Waiting(Contract):
    """A call that a run waits with."""

    call_id: str
    """Names the call within its task; a decision names it by this."""
    call: ToolUseBlock
    kind: Literal["approval", "answer", "task"]
    """`approval`: whether it may be carried out · `answer`: its result, which somebody outside gives · `task`: another
    agent's outcome, about which nobody decides."""
    task: str | None = None
    """With `task`: the id of the other agent's task."""
    reason: str = ""
    rules: list[Rule] = Field(default_factory=list[Rule])
    """Rules under which such calls would not be asked about again."""


class Decision(Contract):
    """What is decided about one call."""

    call_id: str
    """As the waiting call has it; a decision about a call that does not wait changes nothing."""
    verdict: Literal["approve", "deny", "answer"]
    arguments: dict[str, JsonValue] | None = None
    """Approve, but with these arguments instead."""
    output: Content = Field(default_factory=list[ContentBlock])
    """With `answer`: the call's result."""
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

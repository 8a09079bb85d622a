"""Approvals: a person decides on calls that a run waits for."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.contract import Contract
from natscope.contracts.door import Durable


class Rule(Contract):
    """What need not be asked again."""

    tool: str
    """A name; `*` stands for any characters."""
    pattern: str = ""
    """Empty: every call of the tool."""
    behaviour: Literal["allow", "ask", "deny"]


class Decision(Contract):
    """What is decided about one call."""

    call_id: str
    verdict: Literal["approve", "deny"]
    arguments: dict[str, JsonValue] | None = None
    """Approve, but with these arguments instead."""
    reason: str = ""
    rules: list[Rule] = Field(default_factory=list[Rule])


class Decide(Contract):
    """Decide on one or more waiting calls."""

    decisions: Annotated[list[Decision], Field(min_length=1)]
    by: str = "user"


DECIDE = Durable(
    template="approval.decide.{task}",
    summary="Approve or deny calls that a task waits for. Kept, and not acted upon yet.",
    room="agent",
    ask=Decide,
    stream="CONTROL",
)

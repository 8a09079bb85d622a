"""Plans: what an agent that plans means to do, step by step."""

from typing import Annotated

from pydantic import Field

from natscope.contracts.contract import Contract

StepName = Annotated[str, Field(min_length=1, max_length=64)]


class Step(Contract):
    """One step of a plan: a task of its own."""

    id: StepName
    """Names it within its plan."""
    do: Annotated[str, Field(min_length=1)]
    """What is to be done, in full."""
    depends_on: list[StepName] = Field(default_factory=list[StepName])
    """It begins when these are done, and is told what they gave."""
    agent: str | None = None
    """Who does it; None: the agent that made the plan."""


class Planning(Contract):
    """How an agent plans."""

    steps: Annotated[int, Field(ge=1, le=100)] = 20
    """A plan has no more."""
    replans: Annotated[int, Field(ge=0, le=20)] = 2
    """How often another plan may be made because a step has failed; then the agent answers with what there is."""

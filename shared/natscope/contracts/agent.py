"""Agents: declared, not programmed; any replica can run any of them."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from natscope.contracts.contract import Contract, Duration
from natscope.contracts.door import Command
from natscope.contracts.model import Generation
from natscope.contracts.task import Finished, Submit
from natscope.contracts.tool import Limits as ToolLimits
from natscope.contracts.tool import ToolName

AgentName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Limits(Contract):
    """Where a run stops. At the step limit the model gets one last turn without tools."""

    max_steps: Annotated[int, Field(ge=1, le=1000)] = 50
    """Model calls before the last one."""
    deadline: Duration = timedelta(minutes=30)
    """Wall time of a run, as seconds or ISO 8601 (`PT30M`)."""


class Recollection(Contract):
    """How much of the session the model sees."""

    last: Annotated[int, Field(ge=0)] = 200
    """At most so many messages."""
    token_budget: Annotated[int, Field(ge=0)] | None = None


class Permissions(Contract):
    """What the agent may do without asking."""

    mode: Literal["bypass", "deny"] = "bypass"
    """`bypass`: every listed tool may run; the sandbox is the boundary. `deny`: no tool runs."""


class AgentSpec(Contract):
    """One agent, as a file of `deploy/agents/` declares it and the `agents` bucket keeps it."""

    name: AgentName
    description: str = ""
    system_prompt: str
    model: str = "default"
    """An alias of `deploy/models.yaml`."""
    tools: list[ToolName] = Field(default_factory=list[ToolName])
    parallel_tool_calls: bool = True
    generation: Generation = Generation()
    limits: Limits = Limits()
    tool_limits: ToolLimits = ToolLimits()
    recollection: Recollection = Recollection()
    permissions: Permissions = Permissions()


ASK = Command(
    template="agent.ask.{agent}",
    summary="Submit a task, wait, and answer with its outcome. The body may be plain text.",
    room="agent",
    ask=Submit,
    answer=Finished,
    deadline_s=600,
)

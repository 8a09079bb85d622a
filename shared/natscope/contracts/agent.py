"""Agents: declared, not programmed; any replica can run any of them."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from natscope.contracts.approval import Rule
from natscope.contracts.contract import Contract, Duration
from natscope.contracts.door import Command
from natscope.contracts.hook import Hook
from natscope.contracts.model import Generation, Output
from natscope.contracts.plan import Planning
from natscope.contracts.task import Finished, Submit
from natscope.contracts.tool import CellMode, ToolPattern
from natscope.contracts.tool import Limits as ToolLimits

AgentName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

GroupName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
SkillName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]


LONGEST = timedelta(days=36_500)
"""Longer than this, nothing lasts and nobody waits."""


def _wait(value: timedelta) -> timedelta:
    if not timedelta() <= value <= LONGEST:
        raise ValueError(f"must be 0 seconds or more, and at most {LONGEST.days:,} days")
    return value


def _span(value: timedelta) -> timedelta:
    if value == timedelta():
        raise ValueError("must be more than 0 seconds")
    return _wait(value)


Wait = Annotated[Duration, AfterValidator(_wait)]
Span = Annotated[Duration, AfterValidator(_span)]


class Limits(Contract):
    """Where a run stops. At all but the deadline the model gets one last turn without tools."""

    max_steps: Annotated[int, Field(ge=1, le=1000)] = 50
    """Model calls before the last one."""
    deadline: Span = timedelta(minutes=30)
    """Wall time of a run, as seconds or ISO 8601 (`PT30M`)."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Input and output tokens of all its model calls; the last one comes on top."""
    usd: Annotated[float, Field(gt=0)] | None = None
    """Dollars of all its model calls; the last one comes on top, and models whose price is not known cost nothing."""
    tool_result_bytes: Annotated[int, Field(ge=1024)] = 100_000
    """Of a longer result the model sees the beginning and the end; the whole is kept as a file of the workspace."""


class Recollection(Contract):
    """How much of the session the model sees."""

    last: Annotated[int, Field(ge=0)] = 200
    """At most so many messages."""
    token_budget: Annotated[int, Field(ge=0)] | None = None


class Compression(Contract):
    """When the model is given a summary instead of what was said before. The session keeps every word.

    Defaults: AgentScope 2's `trigger_ratio` and `reserve_ratio`.
    """

    at: Annotated[float, Field(ge=0.5, le=0.9)] = 0.8
    """Share of the model's window at which it is made."""
    keep: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of the window that the latest messages may take up; they stay as they are."""
    context_size: Annotated[int, Field(ge=256)] | None = None
    """Tokens of the window; None: what `model.list` says of the model. Where nobody knows it, a summary is made when
    the model says that the prompt is too long."""
    model: str | None = None
    """Who writes it; None: the agent's own model."""


class Permissions(Contract):
    """What the agent may do without asking. Rules hold in every mode: deny before ask before allow."""

    mode: Literal["default", "accept_edits", "explore", "bypass", "dont_ask"] = "bypass"
    """What becomes of a call that no rule and no check of its tool settles.

    `default`: asked, unless it only reads · `accept_edits`: as default, and edits inside `folders` are allowed ·
    `explore`: only what reads is allowed · `bypass`: allowed, the sandbox is the boundary · `dont_ask`: what would be
    asked is denied.
    """
    rules: list[Rule] = Field(default_factory=list[Rule])
    wait: Wait | None = None
    """How long a call waits for a decision; None: for ever."""
    unanswered: Literal["approve", "deny"] = "deny"
    """What is decided then."""
    folders: list[str] = Field(default_factory=lambda: ["."])
    """Folders of the workspace that `accept_edits` is about."""


class Hints(Contract):
    """What the model is told of its run with each question, besides the conversation. None of it is kept."""

    time: bool = False
    """What time it is (UTC), to the minute."""
    nearly_full: bool = False
    """That its window fills, from 0.2 below `compression.at` on."""
    failing: bool = False
    """Which calls have failed more than once with the same arguments, since one has succeeded."""
    open_tasks: bool = False
    """What on the session's list of tasks (`task_create`) is not completed."""


class Team(Contract):
    """Whom an agent leads: it gives its members work (`assign`), and each keeps what it was told and did."""

    agents: Annotated[list[AgentName], Field(min_length=1)]
    """Of whom the team is; there may be several members of the same agent, under names that the leader gives them."""
    purpose: str = ""
    """What the team is for; every member is told so."""


class NeedsHuman(Contract):
    """How a run waits that needs a person's help."""

    wait: Wait | None = None
    """How long; None: for ever."""
    unanswered: Literal["abort", "retry"] = "abort"
    """What is decided then; a run is retried so once, and aborted the next time."""


class Critic(Contract):
    """Who judges what is to be the agent's answer, before it is one."""

    agent: AgentName | None = None
    """Another agent: its prompt and its model judge; it calls no tools."""
    model: str | None = None
    """Another model. Neither: the agent's own judges itself."""
    criteria: str = "It answers what was asked, it is right, and it rests on what was found out."
    """By what it is judged."""


class ToolGroup(Contract):
    """Tools that are switched on and off together, by the agent itself (`reset_tools`)."""

    description: str
    """What the group is for: how the model decides."""
    tools: list[ToolPattern]
    active: bool = False
    """Whether it is on when a run begins."""
    notes: str = ""
    """What the model is told when it switches the group on."""


class Skill(Contract):
    """What a model is told of a skill before it reads it."""

    name: SkillName
    description: str


_FUNCTION = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


def _if_custom(value: str | None, info: ValidationInfo) -> str | None:
    if value is None and info.data.get("strategy") == "custom":
        raise ValueError("`strategy: custom` runs a function: name it as `module:name`")
    return value


class AgentSpec(Contract):
    """One agent, as a file of `deploy/agents/` declares it and the `agents` bucket keeps it."""

    name: AgentName
    description: str = ""
    system_prompt: str
    strategy: Literal["react", "dialog", "plan_execute", "custom"] = "react"
    """`react`: thinks and calls tools until it has the answer · `dialog`: answers at once, without tools ·
    `plan_execute`: makes a plan, each step of which is a task of its own, and answers with what came of them ·
    `custom`: runs its own `function`."""
    function: Annotated[str | None, Field(pattern=_FUNCTION, validate_default=True), AfterValidator(_if_custom)] = None
    """With `custom`: `module:name` of what `@natscope.agent` was written above, in the agent service's folder of
    functions."""
    plan: Planning = Planning()
    """With `plan_execute`."""
    model: str = "default"
    """An alias of `deploy/models.yaml`."""
    tools: list[ToolPattern] = Field(default_factory=list[ToolPattern])
    agents: list[AgentName] = Field(default_factory=list[AgentName])
    """Agents it may ask (`ask_agent`): each time a task of its own, under that agent's own permissions."""
    hands_over_to: list[AgentName] = Field(default_factory=list[AgentName])
    """Agents to whom it may hand the conversation over (`hand_over`): they go on with the run, within its limits."""
    team: Team | None = None
    """The team that it leads."""
    output: Output | None = None
    """What the answer must look like: the agent ends a run by calling `finish` with it, whatever its strategy."""
    parallel_tool_calls: bool = True
    generation: Generation = Generation()
    limits: Limits = Limits()
    groups: dict[GroupName, ToolGroup] = Field(default_factory=dict[GroupName, ToolGroup])
    """Besides `tools`, which are always on."""
    skills: list[SkillName] = Field(default_factory=list[SkillName])
    """Folders with a `SKILL.md`, below the agent service's folder of skills; read on demand."""
    tool_limits: ToolLimits = ToolLimits()
    cell: CellMode = "session"
    recollection: Recollection = Recollection()
    compression: Compression = Compression()
    permissions: Permissions = Permissions()
    on_failure: Literal["fail", "needs_human"] = "fail"
    """What becomes of a run whose model cannot be asked, or cannot mend its replies: it fails (or ends `limited`), or
    waits for a person to help it on (`approval.decide.<task>`)."""
    needs_human: NeedsHuman = NeedsHuman()
    hints: Hints = Hints()
    hooks: list[Hook] = Field(default_factory=list[Hook])
    """What stands around what its runs do."""
    critics: list[Critic] = Field(default_factory=list[Critic])
    """Who judges its answers, one after the other. What is objected to is answered again, twice at most; a function
    (`custom`) is not run again: its outcome is `limited`."""


ASK = Command(
    template="agent.ask.{agent}",
    summary="Submit a task, wait, and answer with its outcome. The body may be plain text.",
    room="agent",
    ask=Submit,
    answer=Finished,
    deadline_s=600,
)

"""Hooks: what stands around what a run does, sees it, and may change it, take its place or refuse it."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.blocks import ResultState, ToolResultBlock, ToolUseBlock, URLSource
from natscope.contracts.contract import Contract, Duration, Token
from natscope.contracts.door import Command
from natscope.contracts.message import Content, Message
from natscope.contracts.model import Generation, Usage
from natscope.contracts.tool import ToolName, ToolPattern

Point = Literal[
    "before_reply",
    "after_reply",
    "system_prompt",
    "before_reasoning",
    "after_reasoning",
    "before_model_call",
    "after_model_call",
    "permission",
    "before_acting",
    "after_acting",
    "before_compression",
    "after_compression",
]
"""Where a hook may stand.

`reply`: the run, from its task to its answer · `system_prompt`: what the model is told first · `reasoning`: one step,
from the conversation to what the model says · `model_call`: one question to the gateway · `permission`: whether a call
may be carried out · `acting`: carrying one out · `compression`: a summary.
"""

HookName = Annotated[
    str, Field(pattern=r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*|[A-Za-z0-9][A-Za-z0-9_-]{0,62})$")
]


class Hook(Contract):
    """A hook, as an agent's file names it."""

    hook: HookName
    """`module:function`, in the agent service's folder of functions, or the name under which any process serves it
    (`hook.ask.<name>`)."""
    at: Annotated[list[Point], Field(min_length=1)]
    """Where it stands. Of several at a point the first is the outermost: first before, last after."""
    tools: list[ToolPattern] = Field(default_factory=list[ToolPattern])
    """At `permission` and acting: calls of these tools alone. Empty: of all."""
    deadline: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(minutes=5))] = timedelta(seconds=5)
    """How long it may take."""
    on_failure: Literal["refuse", "continue"] = "refuse"
    """What becomes of it when the hook is not there, fails, answers what does not fit, or takes too long."""


class Asked(Contract):
    """What a hook is asked about, as those before it have left it; what its point does not have is empty."""

    point: Point
    task: Token
    agent: str
    session: Token
    step: int
    """Model calls done so far."""
    usage: Usage = Usage()
    """What the run has spent so far."""
    cost_usd: float = 0.0
    message: Message | None = None
    """`before_reply`: the task · after: the answer, what the model has said, the summary."""
    output: JsonValue = None
    """`after_reply`: the answer as a value, if the agent declares one."""
    messages: list[Message] = Field(default_factory=list[Message])
    """`before_reasoning`, `before_model_call`: what the model is asked."""
    prompt: str = ""
    """`system_prompt`: what it is."""
    model: str | None = None
    """`before_model_call`: the alias."""
    tools: list[ToolName] = Field(default_factory=list[ToolName])
    """`before_model_call`: the tools that the model is offered."""
    call: ToolUseBlock | None = None
    """`permission`, acting."""
    verdict: Literal["allow", "ask", "deny"] | None = None
    """`permission`: what the agent's rules say of it."""
    reason: str = ""
    """Why they do."""
    result: ToolResultBlock | None = None
    """`after_acting`."""


class Answer(Contract):
    """What a hook makes of what it was asked about. An answer that does not fit the point is a failure of the hook."""

    do: Literal["go_on", "change", "skip", "refuse", "again"] = "go_on"
    """`go_on`: as it is · `change`: with what is given below · `skip`: it is not done, what is given below stands for
    what would have come of it · `refuse`: it must not be done · `again`: the model is to answer again
    (`after_reply`)."""
    reason: str = ""
    """Why; the model or the outcome says so."""
    content: Content | None = None
    """Instead of the task, of what was said, of the result's output, or of the summary."""
    output: JsonValue = None
    """`after_reply`: instead of the answer as a value."""
    state: ResultState | None = None
    """Acting: of the result."""
    arguments: dict[str, JsonValue] | None = None
    """`before_acting`: instead of the call's."""
    verdict: Literal["allow", "ask", "deny"] | None = None
    """`permission`: instead of the rules'."""
    prompt: str | None = None
    """`system_prompt`: instead of it."""
    hint: str | None = None
    """`before_reasoning`: told to the model behind the conversation, this once · `before_compression`: what the summary
    must hold."""
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    """`before_model_call`: all that the model is asked instead, this once; a result has to stand behind its call."""
    model: str | None = None
    """`before_model_call`: another alias."""
    generation: Generation | None = None
    """`before_model_call`."""
    tools: list[ToolName] | None = None
    """`before_model_call`: of the tools, those that the model is offered."""
    tool_choice: str | None = None
    """`before_model_call`: `auto`, `none`, `required`, or a tool's name."""


class Stretch(Contract):
    """Messages that stay: so many of those that the model would have been asked."""

    first: Annotated[int, Field(ge=0)]
    """The place of the first, from 0."""
    count: Annotated[int, Field(gt=0)]
    """How many, that one included."""


class Rewritten(Contract):
    """What a model is asked instead, as it differs from what it would have been asked."""

    of: int
    """How many messages that was."""
    parts: list[Stretch | Message] = Field(default_factory=list[Stretch | Message])
    """In their order: what stays, and what is new or another."""
    stored: URLSource | None = None
    """Where the parts are, if they are too much for a journal."""


ASK = Command(
    template="hook.ask.{hook}",
    summary="Ask a hook what it makes of what a run is about to do, or has done; any process that serves it answers.",
    room="client",
    ask=Asked,
    answer=Answer,
    deadline_s=5,
)

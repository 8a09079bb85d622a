"""Task events: what a client sees while an agent works."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock
from natscope.contracts.contract import Contract, Instant, new_id, now
from natscope.contracts.door import Event
from natscope.contracts.errors import Failure
from natscope.contracts.hook import Point
from natscope.contracts.message import Message
from natscope.contracts.model import FinishReason, Usage
from natscope.contracts.plan import Step, StepName
from natscope.contracts.task import Outcome


class _Event(Contract):
    id: str = Field(default_factory=new_id)
    task_id: str
    at: Instant = Field(default_factory=now)


class _Written(_Event):
    step: int
    """Counts the model calls of the run from 1."""
    block: int
    """Index of the block in the message of that step."""


class ReplyStart(_Event):
    """The agent begins, or the run is taken up again (`resumed`), by another replica or by the same."""

    type: Literal["reply_start"] = "reply_start"
    agent: str
    session: str
    resumed: bool = False


class ToolMissing(_Event):
    """Nobody serves a tool that the agent's file names; told as the run begins."""

    type: Literal["tool_missing"] = "tool_missing"
    tool: str
    awaited: bool
    """Whether the run waits for its host, as it was served before or the agent service has just started; if it does
    not come, it is told again. Otherwise the run begins without it."""
    nearest: str | None = None
    """A tool of a name like it, which may be what is meant."""


class ModelCallStart(_Event):
    """The model is asked."""

    type: Literal["model_call_start"] = "model_call_start"
    step: int
    model: str


class ModelCallEnd(_Event):
    """The model has answered."""

    type: Literal["model_call_end"] = "model_call_end"
    step: int
    model: str
    finish_reason: FinishReason
    usage: Usage


class ModelReset(_Event):
    """What the model wrote in this step is void; it begins again."""

    type: Literal["model_reset"] = "model_reset"
    step: int


class TextStart(_Written):
    """A text block begins."""

    type: Literal["text_start"] = "text_start"


class TextDelta(_Written):
    """A piece of a text block."""

    type: Literal["text_delta"] = "text_delta"
    delta: str


class TextEnd(_Written):
    """A text block is whole."""

    type: Literal["text_end"] = "text_end"
    text: str


class ThinkingStart(_Written):
    """A thinking block begins."""

    type: Literal["thinking_start"] = "thinking_start"


class ThinkingDelta(_Written):
    """A piece of a thinking block."""

    type: Literal["thinking_delta"] = "thinking_delta"
    delta: str


class ThinkingEnd(_Written):
    """A thinking block is whole."""

    type: Literal["thinking_end"] = "thinking_end"
    thinking: str


class ToolCallStart(_Written):
    """The model begins to write a call."""

    type: Literal["tool_call_start"] = "tool_call_start"
    tool: str


class ToolCallDelta(_Written):
    """A piece of a call's arguments."""

    type: Literal["tool_call_delta"] = "tool_call_delta"
    delta: str


class ToolCallEnd(_Written):
    """A call is whole and will be carried out."""

    type: Literal["tool_call_end"] = "tool_call_end"
    call: ToolUseBlock


class ToolProgress(_Event):
    """A piece of a running tool's output."""

    type: Literal["tool_progress"] = "tool_progress"
    step: int
    call_id: str
    """The id of the `ToolUseBlock`, as in the result that follows."""
    stream: str
    text: str


class ToolResult(_Event):
    """A call has come to its result."""

    type: Literal["tool_result"] = "tool_result"
    step: int
    result: ToolResultBlock
    backend: str | None = None


class Compressed(_Event):
    """From here on the model is given a summary instead of what was said before."""

    type: Literal["compressed"] = "compressed"
    step: int
    """The model call before which it was made."""
    summary: str
    """Empty: none could be made; what was said before is left out."""


class Delegated(_Event):
    """Another agent was asked; its events are those of its own task."""

    type: Literal["delegated"] = "delegated"
    step: int
    call_id: str
    """The id of the `ToolUseBlock`, as in the result that follows."""
    agent: str
    child: str
    """The other agent's task."""


class _Plan(_Event):
    plan: int
    """Counts the plans of the run from 1."""


class PlanMade(_Plan):
    """There is a plan; its first steps begin."""

    type: Literal["plan_made"] = "plan_made"
    steps: list[Step]


class Replanned(_Plan):
    """There is another plan; of the one before, what is done stays."""

    type: Literal["replanned"] = "replanned"
    steps: list[Step]
    failed: list[StepName]
    """The steps of the plan before that have failed."""


class StepBegun(_Plan):
    """A step of the plan has begun; its events are those of its own task."""

    type: Literal["step_begun"] = "step_begun"
    name: StepName
    """Its id in the plan."""
    agent: str
    child: str
    """Its task."""


class StepEnded(_Plan):
    """A step of the plan has come to its end."""

    type: Literal["step_ended"] = "step_ended"
    name: StepName
    result: ToolResultBlock


class Reasked(_Event):
    """A reply was of no use, or a call has failed again and again: the model is told, and asked again."""

    type: Literal["reasked"] = "reasked"
    step: int
    """The model call whose reply it was."""
    fault: Literal["arguments", "unknown_tool", "output", "empty", "repeated", "objection"]
    """`arguments`: of a call, beyond repair · `output`: not the answer that the agent declares · `repeated`: a call
    that has failed too often · `objection`: an answer that a hook or a critic objects to."""
    error: str
    times: int
    """How many such replies there were in a row."""


class Hooked(_Event):
    """A hook has changed, replaced or refused something, or has failed."""

    type: Literal["hooked"] = "hooked"
    step: int
    point: Point
    hook: str
    do: Literal["go_on", "change", "skip", "refuse", "again"]
    """What becomes of it; `go_on`: the hook has failed, and is passed over."""
    reason: str = ""
    failure: Failure | None = None
    """Why the hook could not be asked."""


class Judged(_Event):
    """A critic has judged what is to be the answer."""

    type: Literal["judged"] = "judged"
    step: int
    by: str
    """The agent or model that it is."""
    acceptable: bool
    objections: list[str] = Field(default_factory=list[str])
    failure: Failure | None = None
    """Why there is no verdict; then the answer stands."""


class HandedOver(_Event):
    """Another agent goes on with the conversation; its answer is the task's."""

    type: Literal["handed_over"] = "handed_over"
    step: int
    agent: str
    """Who goes on."""


class ApprovalNeeded(_Event):
    """The run waits for somebody to decide on these calls (`approval.decide.<task>`)."""

    type: Literal["approval_needed"] = "approval_needed"
    waiting: list[Waiting]
    until: Instant | None = None
    """When it goes on without a decision."""


class ChildWaits(_Event):
    """A task that this one has asked, itself or through others, waits for somebody to decide on these calls."""

    type: Literal["child_waits"] = "child_waits"
    agent: str
    child: str
    """The task that waits (`approval.decide.<child>`)."""
    waiting: list[Waiting]
    until: Instant | None = None
    """When it goes on without a decision."""


class Steered(_Event):
    """A message from outside was slipped in; the next model call hears it."""

    type: Literal["steered"] = "steered"
    message: Message
    redirect: bool = False
    """What was under way was dropped for it."""


class Heard(_Event):
    """Something was said in a team of the run's; the next model call hears it."""

    type: Literal["heard"] = "heard"
    hub: str
    message: Message


class Interrupted(_Event):
    """The run was stopped from outside."""

    type: Literal["interrupted"] = "interrupted"
    reason: str = ""


class LimitReached(_Event):
    """A limit was reached; one last answer without tools follows."""

    type: Literal["limit_reached"] = "limit_reached"
    limit: str


class ReplyEnd(_Event):
    """The last event of a task; the outcome itself is in `task.finished`."""

    type: Literal["reply_end"] = "reply_end"
    state: Outcome
    usage: Usage


class Custom(_Event):
    """Anything else an agent wants to tell."""

    type: Literal["custom"] = "custom"
    name: str
    value: JsonValue = None


class UnknownEvent(_Event):
    """An event of a later version: kept whole and passed on."""

    type: str


_KINDS = {
    kind.model_fields["type"].default: kind
    for kind in (
        ReplyStart, ToolMissing, ModelCallStart, ModelCallEnd, ModelReset, TextStart, TextDelta, TextEnd, ThinkingStart,
        ThinkingDelta, ThinkingEnd, ToolCallStart, ToolCallDelta, ToolCallEnd, ToolProgress, ToolResult,
        Compressed, Delegated, Hooked, Judged, HandedOver, PlanMade, Replanned, StepBegun, StepEnded, Reasked,
        ApprovalNeeded, ChildWaits, Steered, Heard, Interrupted, LimitReached, ReplyEnd, Custom,
    )
}  # fmt: skip


def _kind(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return kind if isinstance(kind, str) and kind in _KINDS else "unknown"


TaskEvent = Annotated[
    Annotated[ReplyStart, Tag("reply_start")]
    | Annotated[ToolMissing, Tag("tool_missing")]
    | Annotated[ModelCallStart, Tag("model_call_start")]
    | Annotated[ModelCallEnd, Tag("model_call_end")]
    | Annotated[ModelReset, Tag("model_reset")]
    | Annotated[TextStart, Tag("text_start")]
    | Annotated[TextDelta, Tag("text_delta")]
    | Annotated[TextEnd, Tag("text_end")]
    | Annotated[ThinkingStart, Tag("thinking_start")]
    | Annotated[ThinkingDelta, Tag("thinking_delta")]
    | Annotated[ThinkingEnd, Tag("thinking_end")]
    | Annotated[ToolCallStart, Tag("tool_call_start")]
    | Annotated[ToolCallDelta, Tag("tool_call_delta")]
    | Annotated[ToolCallEnd, Tag("tool_call_end")]
    | Annotated[ToolProgress, Tag("tool_progress")]
    | Annotated[ToolResult, Tag("tool_result")]
    | Annotated[Compressed, Tag("compressed")]
    | Annotated[Delegated, Tag("delegated")]
    | Annotated[Hooked, Tag("hooked")]
    | Annotated[Judged, Tag("judged")]
    | Annotated[HandedOver, Tag("handed_over")]
    | Annotated[PlanMade, Tag("plan_made")]
    | Annotated[Replanned, Tag("replanned")]
    | Annotated[StepBegun, Tag("step_begun")]
    | Annotated[StepEnded, Tag("step_ended")]
    | Annotated[Reasked, Tag("reasked")]
    | Annotated[ApprovalNeeded, Tag("approval_needed")]
    | Annotated[ChildWaits, Tag("child_waits")]
    | Annotated[Steered, Tag("steered")]
    | Annotated[Heard, Tag("heard")]
    | Annotated[Interrupted, Tag("interrupted")]
    | Annotated[LimitReached, Tag("limit_reached")]
    | Annotated[ReplyEnd, Tag("reply_end")]
    | Annotated[Custom, Tag("custom")]
    | Annotated[UnknownEvent, Tag("unknown")],
    Discriminator(_kind),
]
"""One event of a task, told apart by its `type`."""

HAPPENED = Event[TaskEvent](
    template="task.event.{task}",
    summary="What an agent does, step by step; resumable by sequence.",
    room="agent",
    body=TaskEvent,
    stream="EVENTS",
)

"""Calling a tool: one door for every tool, whoever serves it."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from natscope.contracts.blocks import FileBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.contract import Contract, Subject, Token
from natscope.contracts.door import Command, Event

ToolName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
ToolPattern = Annotated[str, Field(pattern=r"^[A-Za-z*][A-Za-z0-9_*-]{0,63}$")]
"""A tool's name; `*` stands for any characters, so `mcp__github__*` is every tool of that server."""

FINISH = "finish"
"""The call with which an agent ends a run that declares what its answer looks like."""

CellMode = Literal["session", "one_shot"]
"""`session`: the session's own cell, whose files stay · `one_shot`: a cell that was never used and is used once."""


BUILT_IN = frozenset({
    "execute_python", "execute_shell", "read_file", "write_file", "edit_file", "list_files", "glob", "grep",
    "fetch_url", "task_create", "task_get", "task_list", "task_update",
})  # fmt: skip
"""Names that the tool executor alone serves."""


OPEN_TASKS = "open_tasks"
"""In the metadata of results of `task_*`: an `OpenTasks`."""


MCP_PREFIX = "mcp__"
"""What the names of MCP servers' tools begin with."""


def is_of_the_house(name: str) -> bool:
    """Return whether a tool of that name is the tool executor's: one that is built in, or one of an MCP server."""
    return name in BUILT_IN or name.startswith(MCP_PREFIX)


class ToolSpec(Contract):
    """What a model has to know to call a tool."""

    name: ToolName
    description: str
    parameters: dict[str, JsonValue]
    """JSON Schema of the arguments object."""
    idempotent: bool = False
    """True if running it twice does no more than running it once; then a call whose outcome was lost is run again."""
    read_only: bool = False
    """True if it changes nothing that anybody else can see."""
    sandboxed: bool = False
    """True if it acts inside the session's cell alone."""
    external: bool = False
    """True if nobody serves it: a person or another program gives the result."""
    concurrent: bool = True
    """False if two calls of one reply must not run at the same time."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    """How long a call may take that names no deadline. None: the host's default."""
    served_as: ToolName | None = None
    """Another name to call it by: it stands before another host's tool of the same name."""


class OpenTasks(Contract):
    """What of a session's list of tasks is not completed."""

    change: int
    """Grows with each change of the list; of two, the one with more is the later."""
    tasks: Annotated[list[str], Field(max_length=50)]
    """A line each, those in progress first."""
    more: int = 0
    """So many others are left out."""


class Limits(Contract):
    """What one call may use, within the host's own ceiling. None: the host's default."""

    deadline_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Wall clock."""
    cpu_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    """CPU time of all processes together."""
    memory_bytes: Annotated[int, Field(ge=16 << 20)] | None = None
    processes: Annotated[int, Field(ge=1)] | None = None
    open_files: Annotated[int, Field(ge=8)] | None = None
    """Descriptors of one process."""
    disk_bytes: Annotated[int, Field(ge=4096)] | None = None
    """What the workspace may hold when the call ends."""
    files: Annotated[int, Field(ge=1)] | None = None
    """Files and folders that the workspace may hold."""
    output_bytes: Annotated[int, Field(ge=256)] | None = None


class Call(Contract):
    """Carry out one tool use."""

    call_id: Token
    """Asking again under the same id gets the recorded outcome; the tool does not act twice. Kept for one day."""
    call: ToolUseBlock
    """The call exactly as the model wrote it."""
    session: Token
    """Whose workspace it works in."""
    agent: str | None = None
    task: str | None = None
    files: list[FileBlock] = Field(default_factory=list[FileBlock])
    """Files that are put into the workspace before the tool runs. One that is there already is left as it is; one that
    finds no place, or is gone, is named in the result."""
    limits: Limits = Limits()
    cell: CellMode = "session"
    deltas_to: Subject | None = None
    """A subject that hears each `Progress` as it comes."""


class Called(Contract):
    """The outcome. A program that failed is an outcome too, with state `error`."""

    result: ToolResultBlock
    backend: str | None = None
    """Where it ran: `docker`, `bubblewrap`, or None for a tool that needs no cell."""
    replayed: bool = False
    """True if the outcome was recorded by an earlier ask under the same `call_id`."""


class Progress(Contract):
    """A piece of a running tool's output."""

    call_id: str
    sequence: int
    """Counts from 0 within a call, without a gap."""
    stream: Literal["stdout", "stderr", "progress"] = "stdout"
    text: str


class List(Contract):
    """Ask which tools there are; every tool host answers."""


class Listed(Contract):
    """The tools that one host serves."""

    host: str
    """Name of the serving service or program."""
    instance: str
    tools: list[ToolSpec]
    backend: str | None = None
    """Where this host runs foreign code, if it does."""


class Changed(Contract):
    """The tools of a host are not what they were."""

    host: str
    instance: Token


class Cancelled(Contract):
    """Nobody waits for the call any more; if it still runs, it is stopped."""

    call_id: Token


class Ended(Contract):
    """A session will not be used again; what was kept for it may go."""

    session: Token


CALL = Command(
    template="tool.call.{tool}",
    summary="Carry out one tool use; progress streams to `deltas_to`.",
    room="tool-executor",
    ask=Call,
    answer=Called,
    deadline_s=330,
)
MCP = Command(
    template="tool.mcp.{tool}",
    summary="Carry out one use of an MCP server's tool, `mcp__<server>__<tool>`; nobody else may listen here.",
    room="tool-executor",
    ask=Call,
    answer=Called,
    deadline_s=330,
)
HELD = Command(
    template="tool.held.{instance}",
    summary="Carry out one tool use in the process that holds the session's cell; executors ask one another.",
    room="tool-executor",
    ask=Call,
    answer=Called,
    deadline_s=330,
)
LIST = Command(
    template="tool.list",
    summary="Name the tools; every tool host answers (request-many).",
    room="tool-executor",
    ask=List,
    answer=Listed,
    deadline_s=2,
)
CHANGED = Event[Changed](
    template="tool.changed.{instance}",
    summary="A host has begun or ceased to serve tools; whoever keeps a list asks again.",
    room="tool-executor",
    body=Changed,
)
CANCELLED = Event[Cancelled](
    template="tool.cancelled.{call}",
    summary="A call is no longer wanted; whoever runs it stops it.",
    room="agent",
    body=Cancelled,
)
ENDED = Event[Ended](
    template="session.ended.{session}",
    summary="A session is over; its cell and workspace are removed.",
    room="agent",
    body=Ended,
)


def door_of(name: str) -> Command[Call, Called]:
    """Return the door at which the tool of that name is called."""
    return MCP if name.startswith(MCP_PREFIX) else CALL

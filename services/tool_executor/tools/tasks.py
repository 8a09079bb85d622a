"""`task_create`, `task_get`, `task_list` and `task_update`: an agent's own list of what there is to do."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import Field, JsonValue

from natscope.contracts.blocks import TextBlock
from natscope.contracts.tool import OPEN_TASKS, OpenTasks
from services.tool_executor.tools.arguments import Arguments, ArgumentsT
from services.tool_executor.tools.built_in import Act, BuiltIn, built_in
from services.tool_executor.tools.port import Place, Result
from services.tool_executor.tools.task_board import Board, Status, Task, TaskRefused

R = TypeVar("R")

Id = Annotated[str, Field(min_length=1, max_length=16, description="The task's id, as `task_list` shows it.")]
Ids = Annotated[list[Id], Field(max_length=100)]
Subject = Annotated[str, Field(min_length=1, max_length=500, description="What is to be done, in one line.")]
Description = Annotated[str, Field(max_length=20_000, description="All that one has to know to do it.")]
Metadata = Annotated[dict[str, JsonValue], Field(max_length=50)]


class Boards(Protocol):
    """The lists of all sessions, where every executor finds them."""

    async def read(self, session: str) -> Board:
        """Return a session's list; an empty one if there is none.

        Raises:
            BusUnavailable: the lists cannot be reached.
        """
        ...

    async def change(self, session: str, change: Callable[[Board], tuple[Board, R]]) -> R:
        """Put `change` of a session's list in the list's place and return what else it gave.

        It is called again with what the list has become, should somebody else have changed it meanwhile.

        Raises:
            BusUnavailable: the lists cannot be reached, or too many change this one.
            TaskRefused: `change` raised it; nothing was changed.
        """
        ...


class CreateArguments(Arguments):
    """Arguments of `task_create`."""

    subject: Subject
    description: Description = ""
    blocked_by: Ids = Field(default_factory=list[str], description="Tasks to be completed before this one.")
    metadata: Metadata = Field(default_factory=dict[str, JsonValue])


class GetArguments(Arguments):
    """Arguments of `task_get`."""

    task_id: Id


class ListArguments(Arguments):
    """`task_list` takes none."""


class UpdateArguments(Arguments):
    """Arguments of `task_update`. What is left out stays as it is."""

    task_id: Id
    subject: Subject | None = None
    description: Description | None = None
    status: Annotated[
        Status | Literal["deleted"] | None, Field(description="`deleted` takes it off the list for good.")
    ] = None
    owner: Annotated[str, Field(max_length=200, description="Who does it.")] | None = None
    add_blocks: Ids = Field(default_factory=list[str], description="Tasks that are to wait for this one.")
    add_blocked_by: Ids = Field(default_factory=list[str], description="Tasks to be completed before this one.")
    metadata: Metadata | None = None


def task_tools(boards: Boards) -> list[BuiltIn[Any]]:
    """Return the four tools on these lists."""

    async def create(arguments: CreateArguments, place: Place) -> Result:
        def change(board: Board) -> tuple[Board, tuple[Board, Task]]:
            changed, task = board.created(arguments.model_dump())
            return changed, (changed, task)

        board, task = await boards.change(place.ask.session, change)
        return _result(board, _told(board, task), task_id=task.id)

    async def get(arguments: GetArguments, place: Place) -> Result:
        board = await boards.read(place.ask.session)
        return _result(board, _told(board, board.task(arguments.task_id)))

    async def list_all(_: ListArguments, place: Place) -> Result:
        board = await boards.read(place.ask.session)
        lines = [_line(board, task) for task in board.tasks.values()]
        return _result(board, "\n".join(lines) or "[no tasks yet]", tasks=len(lines))

    async def update(arguments: UpdateArguments, place: Place) -> Result:
        def change(board: Board) -> tuple[Board, Board]:
            changed = _updated(board, arguments)
            return changed, changed

        board = await boards.change(place.ask.session, change)
        if arguments.status == "deleted":
            return _result(board, f"[task {arguments.task_id} is off the list]")
        return _result(board, _told(board, board.task(arguments.task_id)))

    return [
        _tool("task_create", "Put a task on this session's list.", CreateArguments, create),
        _tool("task_get", "Show one task of this session's list with all that is known of it.", GetArguments, get),
        _tool("task_list", "Show this session's tasks: state, what they wait for, owner.", ListArguments, list_all),
        _tool(
            "task_update",
            "Change a task: its state as you begin and finish it, what waits for what, who does it.",
            UpdateArguments,
            update,
        ),
    ]


def _tool(name: str, description: str, arguments: type[ArgumentsT], act: Act[ArgumentsT]) -> BuiltIn[ArgumentsT]:
    """Return a tool that changes nothing but the session's own list, which nobody else sees."""

    async def acts(given: ArgumentsT, place: Place) -> Result:
        try:
            return await act(given, place)
        except TaskRefused as error:
            return Result([TextBlock(text=f"[{error}]")], "error")

    found = built_in(name, description, arguments, acts, reads=name in _READING, sandboxed=False)
    return replace(found, spec=found.spec.model_copy(update={"read_only": True}))


def _result(board: Board, text: str, **metadata: JsonValue) -> Result:
    """Return a result that also tells, not to the model but to its agent, what is left to do."""
    return Result([TextBlock(text=text)], metadata={**metadata, OPEN_TASKS: _open(board)})


def _open(board: Board) -> JsonValue:
    left = [task for task in board.tasks.values() if task.status != "completed"]
    left.sort(key=lambda task: task.status != "in_progress")
    lines = [_line(board, task)[:_LETTERS] for task in left[:_SHOWN]]
    return OpenTasks(change=board.changes, tasks=lines, more=len(left) - len(lines)).model_dump()


_SHOWN, _LETTERS = 10, 200
"""Of open tasks: how many are told of, and how much of each."""
_READING = ("task_get", "task_list")


def _updated(board: Board, arguments: UpdateArguments) -> Board:
    if arguments.status == "deleted":
        return board.deleted(arguments.task_id)
    named = ("subject", "description", "status", "owner", "metadata")
    change = {name: value for name in named if (value := getattr(arguments, name)) is not None}
    return board.updated(
        arguments.task_id, change, add_blocks=arguments.add_blocks, add_blocked_by=arguments.add_blocked_by
    )


def _line(board: Board, task: Task) -> str:
    waits = board.waits_for(task.id)
    remarks = [f"waits for {', '.join(waits)}" if waits else "", task.owner or ""]
    told = "; ".join(remark for remark in remarks if remark)
    return f"{task.id}. [{task.status}] {task.subject}" + (f" ({told})" if told else "")


def _told(board: Board, task: Task) -> str:
    blocks = board.blocks(task.id)
    lines = [
        _line(board, task),
        task.description,
        f"blocked by: {', '.join(task.blocked_by)}" if task.blocked_by else "",
        f"blocks: {', '.join(blocks)}" if blocks else "",
        f"metadata: {json.dumps(task.metadata, ensure_ascii=False)}" if task.metadata else "",
    ]
    return "\n".join(line for line in lines if line)

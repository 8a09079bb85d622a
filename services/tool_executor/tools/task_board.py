"""A session's list of tasks: what there is to do, in which state, and what waits for what."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

Status = Literal["pending", "in_progress", "completed"]
MOST = 500
"""Tasks of one list."""


class TaskRefused(Exception):
    """The list cannot be changed like that; the message says why."""


class Task(BaseModel):
    """One thing to do."""

    model_config = ConfigDict(frozen=True)

    id: str
    subject: str
    description: str = ""
    status: Status = "pending"
    owner: str | None = None
    blocked_by: tuple[str, ...] = ()
    """Tasks that have to be completed before this one, in the order they were named."""
    metadata: dict[str, JsonValue] = {}


class Board(BaseModel):
    """All tasks of a session, in the order they were created. Every change gives a new board."""

    model_config = ConfigDict(frozen=True)

    last: int = 0
    """Number of the task created last; none is given twice."""
    changes: int = 0
    """Its changes, counted from the second in which it began: a list that follows an expired one is the later."""
    tasks: dict[str, Task] = {}

    def task(self, id: str) -> Task:
        """Return a task.

        Raises:
            TaskRefused: there is none of that id.
        """
        found = self.tasks.get(id)
        if found is None:
            there = ", ".join(self.tasks) or "none yet"
            raise TaskRefused(f"there is no task {id!r}; there are: {there}")
        return found

    def blocks(self, id: str) -> tuple[str, ...]:
        """Return the tasks that wait for this one."""
        return tuple(task.id for task in self.tasks.values() if id in task.blocked_by)

    def waits_for(self, id: str) -> tuple[str, ...]:
        """Return the tasks that are to be completed before this one and are not."""
        return tuple(other for other in self.task(id).blocked_by if self.task(other).status != "completed")

    def created(self, task: Mapping[str, object]) -> tuple["Board", Task]:
        """Return the board with one more task, made of `task` without an id, and that task.

        Raises:
            TaskRefused: it waits for what is not there, or the list is full.
        """
        if len(self.tasks) >= MOST:
            raise TaskRefused(f"the list is full: it has {MOST} tasks; delete some")
        new = Task.model_validate({**task, "id": str(self.last + 1)})
        for other in new.blocked_by:
            self.task(other)
        return self._with({**self.tasks, new.id: new}, last=self.last + 1), new

    def updated(
        self, id: str, change: Mapping[str, object], *, add_blocks: Iterable[str], add_blocked_by: Iterable[str]
    ) -> "Board":
        """Return the board with a task changed.

        Raises:
            TaskRefused: a task is not there, or two would wait for each other.
        """
        task = self.task(id)
        tasks = {**self.tasks, id: task.model_copy(update=dict(change))}
        for waiting, first in [*((id, other) for other in add_blocked_by), *((other, id) for other in add_blocks)]:
            self.task(waiting)
            self.task(first)
            tasks[waiting] = _waiting(tasks[waiting], first)
        board = self._with(tasks)
        board._check_order()
        return board

    def deleted(self, id: str) -> "Board":
        """Return the board without a task; nothing waits for it any more.

        Raises:
            TaskRefused: it is not there.
        """
        self.task(id)
        kept = {
            task.id: task.model_copy(update={"blocked_by": tuple(other for other in task.blocked_by if other != id)})
            for task in self.tasks.values()
            if task.id != id
        }
        return self._with(kept)

    def _with(self, tasks: dict[str, Task], *, last: int | None = None) -> "Board":
        return Board(last=self.last if last is None else last, changes=self.changes + 1, tasks=tasks)

    def _check_order(self) -> None:
        done = set[str]()
        left = dict(self.tasks)
        while ready := [id for id, task in left.items() if done.issuperset(task.blocked_by)]:
            done.update(ready)
            for id in ready:
                del left[id]
        if left:
            raise TaskRefused(f"tasks would wait for one another: {', '.join(left)}")


def _waiting(task: Task, first: str) -> Task:
    return task if first in task.blocked_by else task.model_copy(update={"blocked_by": (*task.blocked_by, first)})

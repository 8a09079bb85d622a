"""The tasks that a worker carries out, by their places in the stream: one that is delivered again is no new one."""

from collections.abc import Iterator
from contextlib import contextmanager

from nats.aio.msg import Msg

from services.agent.intake import Task

Place = tuple[str, int]


def place_of(message: Msg) -> Place:
    """Return the stream of a message, and its sequence there: the same however often it is delivered."""
    return message.metadata.stream, message.metadata.sequence.stream


class Held:
    """What is being carried out now."""

    def __init__(self) -> None:
        self._tasks: dict[Place, Task] = {}

    @contextmanager
    def hold(self, task: Task, message: Msg) -> Iterator[None]:
        """Count the task as being carried out for as long as the body runs."""
        place = place_of(message)
        self._tasks[place] = task
        try:
            yield
        finally:
            if self._tasks.get(place) is task:
                del self._tasks[place]

    def task_of(self, message: Msg) -> Task | None:
        """Return the task that was delivered before with this message, if it is still being carried out."""
        return self._tasks.get(place_of(message))

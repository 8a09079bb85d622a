"""Standing in line: a task waits until no earlier one of its session is unfinished, or until it is taken back."""

import asyncio
import logging

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.contracts.errors import Unavailable
from natscope.contracts.task import SUBMIT_IN
from services.agent.hearing import controls_for
from services.agent.intake import Task

log = logging.getLogger(__name__)

LINE_S = (0.02, 0.5)
"""Shortest and longest time between two looks at the line."""


class Line:
    """The tasks in this process's hands that stand behind others."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._moved = asyncio.Event()
        self._standing: dict[str, str | None] = {}
        """Why each was interrupted, by its id; None: it was not."""

    def __len__(self) -> int:
        return len(self._standing)

    def move(self) -> None:
        """Have those in line look whether it is their turn."""
        self._moved.set()
        self._moved = asyncio.Event()

    def interrupt(self, task_id: str, reason: str) -> None:
        """Have a task leave the line, if it stands here."""
        if task_id in self._standing:
            self._standing[task_id] = reason
            self.move()

    async def stand(self, task: Task, message: Msg) -> str | None:
        """Return None when it is the task's turn, or before that, why it was interrupted."""
        self._standing[task.id] = None
        try:
            if (before := await self._interrupted_before(task)) is not None:
                self._standing[task.id] = before
            pause = LINE_S[0]
            while not await self.is_first(task, message):
                if (reason := self._standing.get(task.id)) is not None:
                    return reason
                moved = self._moved
                try:
                    async with asyncio.timeout(pause):
                        await moved.wait()
                except TimeoutError:
                    pause = min(pause * 2, LINE_S[1])
            return None
        finally:
            self._standing.pop(task.id, None)

    async def is_first(self, task: Task, message: Msg) -> bool:
        """Return whether no earlier task of the session is unfinished: those stay in the stream until they are."""
        line = SUBMIT_IN.at("any", task.submit.lane).replace(".any.", ".*.")
        try:
            found = await self._bus.js.get_msg(SUBMIT_IN.stream, seq=1, subject=line, next=True, direct=True)
        except js_errors.NotFoundError:
            return True
        except (nats_errors.Error, js_errors.Error):
            return False
        return int(found.seq or 0) >= message.metadata.sequence.stream

    async def _interrupted_before(self, task: Task) -> str | None:
        try:
            controls = await controls_for(self._bus, task.id)
        except Unavailable as error:
            log.warning("what was said to a task in line is not known", extra={"reason": error.message})
            return None
        return controls.reason if controls.interrupted else None

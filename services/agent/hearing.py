"""What was said to a run from outside while it goes on: interrupts and steering, as the control stream keeps them."""

import asyncio
import logging
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.envelope import read
from natscope.contracts.errors import BodyInvalid, BusUnavailable
from natscope.contracts.message import Message
from natscope.contracts.run import Steered
from natscope.contracts.task import INTERRUPT, STEER, Interrupt, Steer

log = logging.getLogger(__name__)

STORED_S = (0.0, 0.01, 0.05, 0.2, 1.0)
"""Seconds between looks: what is published is heard a moment before its stream has it."""


@dataclass(frozen=True)
class Controls:
    """What was said to a task, in the order in which it was said."""

    interrupted: bool = False
    reason: str = ""
    """Why it was interrupted, if that was said."""
    steered: tuple[Steered, ...] = ()

    @property
    def redirects(self) -> bool:
        """Whether what is under way is to be dropped."""
        return any(each.redirect for each in self.steered)


async def controls_for(bus: Bus, task_id: str, *, after: int = 0) -> Controls:
    """Return what was said to a task behind sequence `after` of the control stream; what is no steering is passed over.

    Raises:
        BusUnavailable: the stream cannot be read.
    """
    subject = INTERRUPT.at(task_id).replace(".interrupt.", ".*.")
    interrupted, reason, steered = False, "", list[Steered]()
    while True:
        try:
            found = await bus.js.get_msg(STEER.stream, seq=after + 1, subject=subject, next=True, direct=True)
        except js_errors.NotFoundError:
            return Controls(interrupted, reason, tuple(steered))
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"what was said to {task_id!r} cannot be read: {error!r}") from error
        after = int(found.seq or 0)
        if found.subject == INTERRUPT.at(task_id):
            interrupted, reason = True, reason or _reason_in(found.data or b"{}")
            continue
        try:
            said = read(Steer, await bus.envelope.unpack(found.data or b"", found.headers), where=subject)
        except BodyInvalid as error:
            log.warning("steering is passed over", extra={"task": task_id, "reason": error.message})
            continue
        id = f"{task_id}-steer-{after}"
        message = Message(id=id, name=said.name, role="user", content=said.content)
        steered.append(Steered(sequence=after, message=message, redirect=said.redirect))


def _reason_in(data: bytes) -> str:
    try:
        return read(Interrupt, data, where="interrupt").reason
    except BodyInvalid:
        return ""


class Ear:
    """What is said to one run that is in this process's hands."""

    def __init__(self, bus: Bus, task_id: str, after: int) -> None:
        self._bus = bus
        self._task = task_id
        self._after = after
        self._pricked = False
        self._taken: list[Steered] = []

    @property
    def after(self) -> int:
        """Up to where the stream is known."""
        return self._after

    def prick(self) -> None:
        """Note that something was said; the stream knows what."""
        self._pricked = True

    def take(self, steered: tuple[Steered, ...]) -> bool:
        """Take what the stream is known to have, once; whether it redirects the run."""
        new = [each for each in steered if each.sequence > self._after]
        self._taken.extend(new)
        self._after = max([self._after, *(each.sequence for each in new)])
        return any(each.redirect for each in new)

    async def listen(self) -> None:
        """Take what was said, once the stream has it."""
        if not self._pricked:
            return
        self._pricked = False
        for pause_s in STORED_S:
            await asyncio.sleep(pause_s)
            after = self._after
            found = await controls_for(self._bus, self._task, after=after)
            self.take(found.steered)
            if self._after > after:
                break

    async def hear(self) -> list[Steered]:
        """Return what was said and not returned yet."""
        await self.listen()
        taken, self._taken = self._taken, []
        return taken

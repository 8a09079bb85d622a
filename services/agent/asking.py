"""Asking other rooms, so that a room that is restarted in between costs time and nothing else."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from natscope.bus import Bus
from natscope.contracts.door import AnswerT, AskT, Command
from natscope.contracts.errors import BusUnavailable, DeadlineExceeded, RunFenced, ServiceNotRunning

log = logging.getLogger(__name__)

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 60.0
PATIENCE_S = 60.0
RETRY_S = 0.25
ENOUGH_S = 1.0
"""With less time than this left an ask is not repeated: a busy machine might not hear in time that nobody listens."""


async def insist(
    bus: Bus, door: Command[AskT, AnswerT], body: AskT, *keys: str, deadline_s: float, patience_s: float
) -> AnswerT:
    """Ask until there is an answer. The body carries an id under which the room does the work once only.

    An ask without an answer is repeated after 5, 10, 20 … 60 s: the room may have died with it, and a live one joins
    the work that is under way.

    Raises:
        DeadlineExceeded: no answer within `deadline_s`, or nobody listens any more after an ask may have been taken.
        ServiceNotRunning: nobody listened for `patience_s` at a stretch, or until a second before the deadline, and
            nobody has taken an ask.
        NatscopeError: what the room answered.
    """
    now = asyncio.get_running_loop().time
    end = now() + deadline_s
    wait = FIRST_WAIT_S
    missing_since: float | None = None
    taken = False
    while True:
        left = end - now()
        try:
            return await bus.ask(door, body, *keys, deadline_s=max(0.01, min(wait, left)))
        except RunFenced as error:
            # a fence of theirs, not of the run for which we ask: whoever has the work there tells what comes of it
            if now() + RETRY_S > end:
                raise DeadlineExceeded(f"whoever took the ask has lost it: {error}") from error
            await asyncio.sleep(RETRY_S)
        except DeadlineExceeded:
            if now() >= end:
                raise
            wait = min(wait * 2, LONGEST_WAIT_S)
            missing_since, taken = None, True
        except (ServiceNotRunning, BusUnavailable) as error:
            taken = taken or isinstance(error, BusUnavailable)
            missing_since = missing_since or now()
            await asyncio.sleep(RETRY_S)
            if now() - missing_since > patience_s or now() + ENOUGH_S > end:
                if taken:
                    raise DeadlineExceeded(f"whoever took the ask has not answered: {error}") from error
                raise


async def persist(put: Callable[[], Awaitable[object]], *, patience_s: float = PATIENCE_S) -> None:
    """Put something into a stream, again for as long as the server cannot be reached.

    It has an id under which the server keeps it once, and knows it for two minutes.

    Raises:
        BusUnavailable: the server could not be reached for `patience_s`, and may have it all the same.
        NatscopeError: the server refuses it.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    while True:
        try:
            await put()
            return
        except BusUnavailable as error:
            if loop.time() > end:
                raise
            log.warning("what was not acknowledged is put again", extra={"reason": error.message})
        await asyncio.sleep(RETRY_S)

"""Attending to a task: tell what happens until its outcome; Ctrl-C stops the run, a second one only leaves."""

import asyncio
import signal
import sys
from collections.abc import Generator
from contextlib import aclosing, contextmanager, suppress

from nats import errors as nats_errors

from natscope.cli.outcome import INTERRUPTED, code_of
from natscope.cli.prompting import Prompter
from natscope.cli.telling import Teller
from natscope.cli.typed import Lines
from natscope.client.ticket import Ticket
from natscope.contracts.errors import BusUnavailable, DeadlineExceeded, NatscopeError

SILENCE_S = 2.0
"""After so long without an event it is asked whether an agent service is there at all."""
AWAY_S = 2.0
"""After so long without a connection that is said."""
GONE_S = 60.0
"""After so long without a connection it is given up."""
LOOK_S = 0.1
LOST = "connection to NATS lost; waiting for it, Ctrl-C leaves"
LEAVE = "the run is being interrupted; Ctrl-C again leaves without waiting"


async def attend(
    ticket: Ticket,
    teller: Teller,
    *,
    timeout_s: float | None = None,
    stops: bool = True,
    after: int = 0,
    asks: Lines | None = None,
) -> int:
    """Tell the task's events and its outcome; return the exit code.

    `stops`: the first Ctrl-C interrupts the run and its outcome is still waited for. `asks`: whoever types these lines
    is asked about calls that wait for a person.

    Raises:
        DeadlineExceeded: there was no outcome within `timeout_s`; the task goes on.
        BusUnavailable: there was no connection for a minute; the task goes on once NATS is back.
    """
    try:
        with _interrupting(ticket, teller, stops=stops):
            async with asyncio.timeout(timeout_s) as limit, aclosing(ticket.events(after=after)) as events:
                silence = asyncio.create_task(_wonder(ticket, teller))
                prompter = Prompter(ticket, teller, asks) if asks is not None else None
                beside = [silence, asyncio.create_task(_mind(ticket, limit))]
                if prompter is not None:
                    beside.append(asyncio.create_task(prompter.run()))
                try:
                    async for item in events:
                        silence.cancel()
                        teller.heard(item)
                        if prompter is not None:
                            prompter.heard(item.event)
                    outcome = await ticket.result()
                finally:
                    for each in beside:
                        each.cancel()
    except TimeoutError as error:
        if not ticket.bus.nc.is_connected:
            raise BusUnavailable(
                f"NATS is gone; task {ticket.task_id!r} goes on when it is back",
                remedy=f"`natscope watch --task {ticket.task_id}`",
            ) from error
        raise DeadlineExceeded(
            f"task {ticket.task_id!r} was not finished within {timeout_s:g} s",
            remedy=f"it goes on: `natscope watch --task {ticket.task_id}`",
        ) from error
    except asyncio.CancelledError:
        teller.note(f"left; `natscope watch --task {ticket.task_id}` comes back to it")
        return INTERRUPTED
    teller.finished(outcome)
    return code_of(outcome)


async def _mind(ticket: Ticket, limit: asyncio.Timeout) -> None:
    """Say that the connection is lost, and end the wait when it stays so."""
    away_s = 0.0
    while away_s < GONE_S:
        await asyncio.sleep(LOOK_S)
        before, away_s = away_s, 0.0 if ticket.bus.nc.is_connected else away_s + LOOK_S
        if before < AWAY_S <= away_s:
            sys.stderr.write(f"{LOST}\n")
    limit.reschedule(asyncio.get_running_loop().time())


async def _wonder(ticket: Ticket, teller: Teller) -> None:
    """Say why nothing happens, if it is because no agent service runs."""
    await asyncio.sleep(SILENCE_S)
    try:
        await ticket.bus.nc.request("$SRV.PING.agent", b"", timeout=SILENCE_S)
    except nats_errors.Error:
        teller.note("no agent service is running; the task waits until one is (Ctrl-C takes it back)")


@contextmanager
def _interrupting(ticket: Ticket, teller: Teller, *, stops: bool) -> Generator[None]:
    """Turn the first Ctrl-C into an interrupt of the task, and the next into leaving."""
    loop = asyncio.get_running_loop()
    waiter = asyncio.current_task()
    sent: list[asyncio.Task[None]] = []

    async def interrupt() -> None:
        try:
            await ticket.interrupt("Ctrl-C")
        except NatscopeError as error:
            teller.note(str(error))

    def pressed() -> None:
        if sent or not stops:
            if waiter is not None:
                waiter.cancel()
            return
        teller.note(LEAVE)
        sent.append(loop.create_task(interrupt()))

    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, pressed)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)

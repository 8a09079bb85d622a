"""The submitting client as a process that may be killed: it submits, listens, decides, and goes on from its notes.

Its notes are a file of lines, each written as soon as something was heard: what a client that was killed knows of its
tasks when it comes back, and what shows whether an event was missed or came twice.
"""

import argparse
import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

from natscope import client
from natscope.client import House, Ticket
from natscope.contracts.errors import DecisionStale, Unavailable
from tests.chaos import story

LOOK_S = 1.0
RETRY_S = 0.2


class Notes:
    """What was heard of each task so far."""

    def __init__(self, place: Path) -> None:
        self.heard: dict[str, list[int]] = defaultdict(list)
        """Sequences of its events, in the order in which they came."""
        self.over: set[str] = set()
        """Tasks whose outcome is known."""
        self.kinds: dict[str, set[str]] = defaultdict(set)
        """Types of its events."""
        for line in place.read_text().splitlines() if place.exists() else ():
            self._take(json.loads(line))
        self._file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, task: str, sequence: int, kind: str) -> None:
        """Note an event, or with sequence 0 that the outcome is known."""
        noted = {"task": task, "sequence": sequence, "kind": kind}
        os.write(self._file, json.dumps(noted).encode() + b"\n")
        self._take(noted)

    def _take(self, noted: dict[str, object]) -> None:
        task, sequence = str(noted["task"]), int(str(noted["sequence"]))
        if sequence:
            self.heard[task].append(sequence)
            self.kinds[task].add(str(noted["kind"]))
        else:
            self.over.add(task)


async def carry(house: House, notes: Notes, number: int) -> None:
    """Submit a run, again under the same id if it was, and see it to its end."""
    task = story.task_of(number)
    if task in notes.over:
        return
    ticket = await submitted(house, number)
    async with deciding(ticket, number):
        while "reply_end" not in notes.kinds[task]:
            after = max(notes.heard[task], default=0)
            with suppress(Unavailable):
                async with aclosing(ticket.events(after=after)) as events:
                    async for heard in events:
                        notes.write(task, heard.sequence, heard.event.type)
                break
            await asyncio.sleep(RETRY_S)
    await persistent_result(ticket)
    notes.write(task, 0, "finished")


async def submitted(house: House, number: int) -> Ticket:
    """Return the ticket of a run once it is accepted."""
    while True:
        try:
            return await house.submit(
                story.LEAD,
                story.question(number),
                session=story.session_of(number),
                task_id=story.task_of(number),
                stream=number % 2 == 0,
            )
        except Unavailable:
            await asyncio.sleep(RETRY_S)


async def persistent_result(ticket: Ticket) -> None:
    """Return when the outcome is known."""
    while True:
        with suppress(Unavailable):
            await ticket.result()
            return
        await asyncio.sleep(RETRY_S)


@asynccontextmanager
async def deciding(ticket: Ticket, number: int) -> AsyncGenerator[None]:
    """Decide whatever the run waits with, for as long as the body runs."""

    async def decide() -> None:
        while True:
            with suppress(Unavailable, DecisionStale):
                waiting = await ticket.waiting()
                if waiting:
                    await ticket.decide(*(story.decision_on(number, each) for each in waiting))
            await asyncio.sleep(LOOK_S)

    task = asyncio.create_task(decide())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run(place: Path, runs: int, at_once: int) -> None:
    """Carry all runs, so many at a time."""
    notes, slots = Notes(place), asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with slots:
            await carry(house, notes, number)

    async with client.open(name="customer") as house, asyncio.TaskGroup() as group:
        print(json.dumps({"event": "open"}), flush=True)
        for number in range(runs):
            group.create_task(one(number))


def main() -> None:
    """Carry all runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.customer", description=main.__doc__)
    parser.add_argument("place", type=Path, help="the file of notes")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(run(options.place, options.runs, options.at_once))


if __name__ == "__main__":
    main()

"""A ticket: what a client holds of a task it has submitted, or of one that somebody else did."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from natscope.bus.connection import Bus
from natscope.client import deciding, looking
from natscope.client.following import follow
from natscope.contracts import approval, event, run, task
from natscope.contracts.blocks import ContentBlock, is_blank, plain
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid, DeadlineExceeded, DecisionStale, TaskNotFound, TaskOver, Unavailable

LOOK_AGAIN_S = 5.0
"""A live message can be missed while the connection is down; so long is an outcome overlooked at most."""
SOON_S = 0.002
"""What is published is heard a moment before its stream has it; so soon it is looked for again, then ever later."""

_EVENTS = event.HAPPENED.stream or ""
_JOURNAL = run.JOURNALED.stream or ""
_RESULTS = task.FINISHED.stream or ""


@dataclass(frozen=True)
class Heard:
    """An event and where it stands; listening again `after` its sequence goes on with the next one."""

    sequence: int
    event: event.TaskEvent


@dataclass(frozen=True)
class Ticket:
    """One task, by its id."""

    bus: Bus
    task_id: str

    async def events(self, *, after: int = 0) -> AsyncGenerator[Heard]:
        """Give what happened behind sequence `after`, then what happens, until the reply has ended.

        Every event comes once and in order, whether it happened before or after this was called. If the events are
        gone (they are kept for a day), this ends once the outcome is known.
        """
        finished, given = False, set[str]()
        async with aclosing(follow(self.bus, _EVENTS, event.HAPPENED.at(self.task_id), after=after)) as kept:
            async for item in kept:
                if item is None:
                    if finished:
                        return
                    finished = await self._outcome_if_reachable() is not None
                    continue
                id = (item.message.headers or {}).get("Nats-Msg-Id")
                if id is not None and id in given:
                    continue
                given.update([id] if id is not None else [])
                happened = await self.bus.read(event.HAPPENED, item.message)
                yield Heard(item.sequence, happened)
                if isinstance(happened, event.ReplyEnd):
                    return

    async def outcome(self) -> task.Finished | None:
        """Return the outcome, or None if there is none yet; outcomes are kept for seven days."""
        found = await looking.last(self.bus, _RESULTS, task.FINISHED.at(self.task_id))
        return await self.bus.read(task.FINISHED, found) if found else None

    async def result(self, deadline_s: float | None = None) -> task.Finished:
        """Wait for the outcome and return it, also when the task was finished long ago.

        Raises:
            DeadlineExceeded: there was none within `deadline_s` seconds; the task goes on.
        """
        async with self.heard() as arrived, self._within(deadline_s):
            return await self.outcome() or await self._arrives(arrived)

    @asynccontextmanager
    async def heard(self) -> AsyncGenerator[asyncio.Event]:
        """Hear of the outcome from now on; if the task is submitted after this, none is overlooked."""
        arrived = asyncio.Event()

        async def note(_: object) -> None:
            arrived.set()

        subscription = await self.bus.nc.subscribe(task.FINISHED.at(self.task_id), cb=note)
        try:
            yield arrived
        finally:
            if not self.bus.nc.is_closed:
                await subscription.unsubscribe()

    async def awaited(self, arrived: asyncio.Event, deadline_s: float | None = None) -> task.Finished:
        """Wait for the outcome of a task that was submitted while it was `heard`, and return it; see `result`."""
        async with self._within(deadline_s):
            return await self._arrives(arrived)

    async def _arrives(self, arrived: asyncio.Event) -> task.Finished:
        outcome, wait_s = None, LOOK_AGAIN_S
        while outcome is None:
            heard = await _either(arrived, wait_s)
            wait_s = SOON_S if heard else min(2 * wait_s, LOOK_AGAIN_S)
            outcome = await self._outcome_if_reachable()
        return outcome

    @asynccontextmanager
    async def _within(self, deadline_s: float | None) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(deadline_s):
                yield
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"task {self.task_id!r} was not finished within {deadline_s:g} s",
                remedy=f"it goes on: `natscope watch --task {self.task_id}`",
            ) from error

    async def _outcome_if_reachable(self) -> task.Finished | None:
        try:
            return await self.outcome()
        except Unavailable:
            if self.bus.nc.is_closed:
                raise
            return None

    async def waiting(self) -> list[approval.Waiting]:
        """Return the calls that the task waits with, for `decide`; none if it does not wait.

        Those that nobody has decided on: while a call is carried out, the others of its reply go on waiting. Those of
        other agents' tasks for which it waits come after its own; `child` says which task waits with them.
        """
        own = await deciding.waits(self.bus, self.task_id)
        open_calls: list[approval.Waiting] = []
        for task_id, calls in self._by_task([*own, *await deciding.waits_of_children(self.bus, self.task_id)]).items():
            made = await deciding.made(self.bus, task_id, calls)
            open_calls += [each for each in calls if each.call_id not in made]
        return open_calls

    def _by_task(self, calls: list[approval.Waiting]) -> dict[str, list[approval.Waiting]]:
        found: dict[str, list[approval.Waiting]] = {}
        for each in calls:
            found.setdefault(each.child or self.task_id, []).append(each)
        return found

    async def decide(self, *decisions: approval.Decision, by: str = "user") -> None:
        """Approve, deny or answer calls that the task waits with, or one that it has asked; it goes on at once.

        Raises:
            TaskNotFound: nothing is known of the task.
            DecisionStale: the task does not wait with one of them, or no longer, or somebody was first; nothing was
                decided, but in other tasks that wait with others of them.
            ArgumentsInvalid: an answer in the model's place does not fit what the agent declares; nothing was decided.
            BodyInvalid: one of them is not what is waited for, such as leave where an answer is, or two are about the
                same call; nothing was decided.
        """
        about = {decision.call_id: decision for decision in decisions}
        if len(about) < len(decisions):
            raise BodyInvalid("two of the decisions are about the same call", remedy="decide on each call once")
        waiting = {each.call_id: each for each in await deciding.waits(self.bus, self.task_id)}
        if not about.keys() <= waiting.keys():
            waiting |= {each.call_id: each for each in await deciding.waits_of_children(self.bus, self.task_id)}
        for decision in decisions:
            if decision.call_id not in waiting:
                raise await self._stale(decision.call_id, waiting)
            await deciding.check(self.bus, waiting[decision.call_id], decision)
        for task_id, calls in self._by_task(list(waiting.values())).items():
            if said := [about[each.call_id] for each in calls if each.call_id in about]:
                await deciding.publish(self.bus, task_id, said, calls, by=by)

    async def _stale(self, call_id: str, waiting: Iterable[str]) -> DecisionStale:
        """Return why there is nothing to decide on a call; TaskNotFound if nothing is known of the task."""
        wanted = ", ".join(sorted(waiting)) or "nothing"
        if wanted == "nothing":
            await self.check_known()
        text = f"task {self.task_id!r} does not wait for a decision on {call_id!r}"
        return DecisionStale(text, remedy=f"it waits for: {wanted}")

    async def steer(self, content: str | list[ContentBlock], *, redirect: bool = False, name: str = "user") -> None:
        """Slip a message in before the task's next model call; with `redirect`, what is under way is dropped for it.

        A task that still waits for its turn, or for a decision, hears it when it goes on; a redirected one goes on at
        once.

        Raises:
            BodyInvalid: the message is empty.
            TaskNotFound: nothing is known of the task.
            TaskOver: the task has its outcome.
        """
        if is_blank(plain(content) if isinstance(content, str) else content):
            raise BodyInvalid("the message is empty", remedy="say what the agent is to be told")
        await self.check_unfinished()
        body = task.Steer.model_validate({"content": content, "redirect": redirect, "name": name})
        await self.bus.submit(task.STEER, body, self.task_id, message_id=new_id())

    async def check_unfinished(self) -> None:
        """Return if the task waits, runs or parks.

        Raises:
            TaskNotFound: nothing is known of the task.
            TaskOver: the task has its outcome.
        """
        if await self.outcome() is not None:
            raise TaskOver(f"task {self.task_id!r} is over", remedy="submit another one to the same session")
        await self.check_known()

    async def check_known(self) -> None:
        """Return if the task is there, or was; TaskNotFound if nothing is known of it."""
        if await self.outcome() is None and not await self._is_known():
            raise TaskNotFound(f"there is no task {self.task_id!r}", remedy="`natscope runs` lists them")

    async def _is_known(self) -> bool:
        if await looking.last(self.bus, _JOURNAL, run.JOURNALED.at(self.task_id)) is not None:
            return True
        for door in (task.SUBMIT_IN, task.SUBMIT):
            for message in await looking.page(self.bus, door.stream, door.wildcard):
                if (message.headers or {}).get("Nats-Msg-Id") == self.task_id:
                    return True
        later = task.DEFER.at("any", self.task_id).replace(".any.", ".*.")
        if await looking.last(self.bus, task.DEFER.stream, later) is not None:
            return True
        return await looking.last(self.bus, _JOURNAL, run.JOURNALED.at(self.task_id)) is not None

    async def interrupt(self, reason: str = "") -> None:
        """Stop the task, whether it runs or still waits. What it has produced is kept; its outcome says so.

        Raises:
            TaskNotFound: nothing is known of the task.
            TaskOver: the task has its outcome.
        """
        await self.check_unfinished()
        body = task.Interrupt(reason=reason)
        await self.bus.submit(task.INTERRUPT, body, self.task_id, message_id=new_id())


async def _either(arrived: asyncio.Event, patience_s: float) -> bool:
    """Return when the outcome was heard of, or after `patience_s`; whether it was heard of."""
    try:
        async with asyncio.timeout(patience_s):
            await arrived.wait()
    except TimeoutError:
        return False
    arrived.clear()
    return True

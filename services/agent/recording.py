"""What happens in a run: taken into its state, written into its journal, and told."""

import asyncio

from natscope.contracts import tool
from natscope.contracts.run import JournalEntry, ToolReturned
from services.agent.ending import handed_over, limit_reached, result_event
from services.agent.journal import Journal
from services.agent.loop import after
from services.agent.own_acting import Handed
from services.agent.state import State
from services.agent.telling import Teller


class Record:
    """One run's state, journal and events."""

    def __init__(self, journal: Journal, teller: Teller, state: State) -> None:
        self._journal = journal
        self._writes: list[asyncio.Task[None]] = []
        self.teller = teller
        self.teller.holds = self.is_ours = journal.is_ours
        self.state = state

    @property
    def task_id(self) -> str:
        """The run's task."""
        return self.state.started.task.task_id

    def happened(self, entry: JournalEntry) -> None:
        """Take `entry` into the state and write it down while its effects begin.

        A reply may be written while its calls are under way: if the entry is lost with this process, the gateway gives
        the same reply again, and the calls have the same ids. A result is written before the model hears of it.
        """
        self.state = after(self.state, entry)
        write = asyncio.create_task(self._journal.append(entry))
        write.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._writes.append(write)

    async def append(self, entry: JournalEntry) -> None:
        """Take `entry` into the state; it is written when this returns.

        Raises:
            RunFenced: another process holds the run.
        """
        self.state = after(self.state, entry)
        await self._journal.append(entry)

    async def written(self, entry: JournalEntry) -> None:
        """As `append`, in order with what `happened`; whoever waits for it may be cancelled, and it is written.

        Raises:
            RunFenced: another process holds the run.
        """
        self.happened(entry)
        write = self._writes[-1]
        await asyncio.wait([write])
        write.result()

    async def settled(self) -> None:
        """Return when everything that happened is written, in the order in which it happened.

        Raises:
            RunFenced: another process holds the run.
        """
        writes, self._writes = self._writes, []
        for failure in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def returned(self, called: tool.Called) -> None:
        """Take the result of a call of the latest reply, and tell it."""
        step, successor = self.state.step, called.successor if isinstance(called, Handed) else None
        entry = ToolReturned(step=step, result=called.result, backend=called.backend, successor=successor)
        self.happened(entry)
        await self.teller.tell(result_event(self.task_id, entry))
        for told in handed_over(self.task_id, entry):
            await self.teller.tell(told)

    async def limit_reached(self, limit: str) -> None:
        """Tell that a limit was reached."""
        await self.teller.tell(limit_reached(self.task_id, limit))

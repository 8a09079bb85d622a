"""Carry out a tool call exactly once, in its session's workspace, and tell its progress on the way."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from opentelemetry.trace import Span

from natscope.contracts import tool
from natscope.contracts.blocks import FileBlock, MediaBlock
from natscope.contracts.contract import Contract
from natscope.telemetry import Telemetry, names
from natscope.telemetry.setup import fail_with
from services.tool_executor.cells import CellLost, Hear, Outcome, Program, RunLimits, Stream
from services.tool_executor.results import interrupted_result, lost_result, result_of
from services.tool_executor.sessions import Sessions, Workspace
from services.tool_executor.settings import Settings
from services.tool_executor.tools import tool_named

log = logging.getLogger(__name__)

Say = Callable[[str, Contract], Awaitable[None]]
"""Publishes to a subject that the asker named."""
Work = Callable[[], Awaitable[tool.Called]]


class Once(Protocol):
    """Remembers outcomes by id, across processes; `natscope.bus.Ledger` is one."""

    async def once(
        self, id: str, ask: Contract, work: Work, *, lost: Work | None = None, ignoring: set[str] | None = None
    ) -> tuple[tool.Called, bool]:
        """Return the outcome under `id` and whether it was known before."""
        ...

    def cancel(self, id: str) -> bool:
        """Stop the work under `id` if it goes on here."""
        ...


class Media(Protocol):
    """Gives the bytes of attached files."""

    async def bytes_of(self, block: MediaBlock) -> bytes:
        """Return the bytes of `block`, wherever they are."""
        ...


class Elsewhere(Protocol):
    """Other executors, one of which may hold a session's cell."""

    async def carry_out_there(self, ask: tool.Call) -> tool.Called | None:
        """Return the outcome if another executor holds the session's cell; None if the call is for this one."""
        ...


class Calls:
    """What the tool executor does."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        *,
        backend: str,
        once: Once,
        media: Media,
        say: Say,
        telemetry: Telemetry,
        elsewhere: Elsewhere,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._backend = backend
        self._once = once
        self._media = media
        self._say = say
        self._telemetry = telemetry
        self._elsewhere = elsewhere

    async def carry_out(self, ask: tool.Call) -> tool.Called:
        """Return the outcome of a call; asked again under the same id, the recorded one.

        Raises:
            ToolNotFound, ArgumentsInvalid: nothing ran.
            SandboxUnavailable, Overloaded, BlobNotFound: nothing ran.
            RequestConflict: the id was used for another call.
        """
        tool_named(ask.call.name).read(ask.call)
        called = await self._elsewhere.carry_out_there(ask)
        return called if called is not None else await self.carry_out_here(ask)

    async def carry_out_here(self, ask: tool.Call) -> tool.Called:
        """Return the outcome of a call whose session's cell is, or will be, one of this process; see `carry_out`."""
        program = tool_named(ask.call.name).read(ask.call)

        async def work() -> tool.Called:
            return await self._run(ask, program)

        async def lost() -> tool.Called:
            result = lost_result(ask.call, backend=self._backend, why="the tool executor died while it ran")
            return tool.Called(result=result, backend=self._backend)

        with self._telemetry.span(f"execute_tool {ask.call.name}", attributes=_attributes(ask, self._backend)) as span:
            called, known = await self._settle(ask, work, lost)
            span.set_attribute(names.REPLAYED, known)
            _mark(span, called)
            return called.model_copy(update={"replayed": known})

    def cancel(self, call_id: str) -> None:
        """Stop the call if it runs here."""
        if self._once.cancel(call_id):
            log.info("call cancelled", extra={"call": call_id})

    async def _settle(self, ask: tool.Call, work: Work, lost: Work) -> tuple[tool.Called, bool]:
        try:
            return await self._once.once(ask.call_id, ask, work, lost=lost, ignoring={"deltas_to"})
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                raise
            return tool.Called(result=interrupted_result(ask.call), backend=self._backend), False

    async def _run(self, ask: tool.Call, program: Program) -> tool.Called:
        async with self._sessions.workspace(ask.session) as workspace:
            new = workspace.runs == 0
            await self._place(ask.files, workspace)
            try:
                outcome = await workspace.cell.run(program, self._limits(ask.limits), self._hear(ask))
            except CellLost as error:
                log.error("cell lost", extra={"session": ask.session, "call": ask.call_id, "reason": str(error)})
                result = lost_result(ask.call, backend=self._backend, why="its cell was lost")
                return tool.Called(result=result, backend=self._backend)
        _note(ask, outcome)
        result = result_of(ask.call, outcome, backend=self._backend, new_workspace=new)
        return tool.Called(result=result, backend=self._backend)

    async def _place(self, files: list[FileBlock], workspace: Workspace) -> None:
        for file in files:
            if file.name in workspace.placed:
                continue
            if not await workspace.cell.has_file(file.name):
                await workspace.cell.put_file(file.name, await self._media.bytes_of(file))
            workspace.placed.add(file.name)

    def _limits(self, wanted: tool.Limits) -> RunLimits:
        settings = self._settings
        seconds = settings.deadline if wanted.deadline_s is None else timedelta(seconds=wanted.deadline_s)
        output = settings.output_bytes if wanted.output_bytes is None else wanted.output_bytes
        memory = None if wanted.memory_bytes is None else min(wanted.memory_bytes, settings.memory_bytes)
        return RunLimits(
            wall_clock=min(seconds, settings.deadline_ceiling),
            output_bytes=min(output, settings.output_bytes_ceiling),
            memory_bytes=memory,
        )

    def _hear(self, ask: tool.Call) -> Hear | None:
        subject = ask.deltas_to
        if subject is None:
            return None
        told = 0

        async def hear(stream: Stream, text: str) -> None:
            nonlocal told
            await self._say(subject, tool.Progress(call_id=ask.call_id, sequence=told, stream=stream, text=text))
            told += 1

        return hear


def _attributes(ask: tool.Call, backend: str) -> dict[str, str]:
    attributes = {
        names.OPERATION: "execute_tool",
        names.TOOL: ask.call.name,
        names.TOOL_TYPE: "function",
        names.TOOL_CALL_ID: ask.call.id,
        names.CONVERSATION: ask.session,
        names.BACKEND: backend,
    }
    if ask.agent is not None:
        attributes[names.AGENT] = ask.agent
    if ask.task is not None:
        attributes[names.TASK_ID] = ask.task
    return attributes


def _mark(span: Span, called: tool.Called) -> None:
    if called.result.state != "success":
        fail_with(span, called.result.state)


def _note(ask: tool.Call, outcome: Outcome) -> None:
    fields = {
        "tool": ask.call.name,
        "session": ask.session,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "timed_out": outcome.timed_out,
        "out_of_memory": outcome.out_of_memory,
        "duration_ms": round(outcome.duration.total_seconds() * 1000, 1),
    }
    log.info("tool finished", extra=fields)

"""Carry out a tool call exactly once, where its tool needs it to be, and tell its progress on the way."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from opentelemetry.trace import Span

from natscope.contracts import tool
from natscope.contracts.blocks import ToolResultBlock
from natscope.contracts.contract import Contract
from natscope.contracts.errors import BlobNotFound
from natscope.telemetry import Telemetry, names
from natscope.telemetry.setup import fail_with
from services.tool_executor import results
from services.tool_executor.cells import CellLost, FileRefused
from services.tool_executor.limiting import limits_of
from services.tool_executor.sessions import Sessions, Workspace
from services.tool_executor.settings import Settings
from services.tool_executor.tools.port import Media, Place, Result, Tell, Told
from services.tool_executor.tools.toolbox import AnyTool, Toolbox

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


class Elsewhere(Protocol):
    """Other executors, one of which may hold a session's cell."""

    async def carry_out_there(self, ask: tool.Call) -> tool.Called | None:
        """Return the outcome if another executor holds the session's cell; None if the call is for this one."""
        ...

    async def is_here(self, session: str) -> bool:
        """Return whether the session's cell is this executor's, with nothing to be done about it."""
        ...


@dataclass(frozen=True)
class Means:
    """What the house gives the executor to carry calls out with."""

    once: Once
    media: Media
    say: Say
    telemetry: Telemetry
    elsewhere: Elsewhere


class _NotHere(Exception):
    """The session's cell is another executor's by now, or its claim is to be written again; nothing ran."""


class Calls:
    """What the tool executor does with the tools of its `toolbox`."""

    def __init__(self, settings: Settings, toolbox: Toolbox, sessions: Sessions, means: Means, *, backend: str) -> None:
        self._settings = settings
        self._toolbox = toolbox
        self._sessions = sessions
        self._means = means
        self._backend = backend
        self._unwanted: set[str] = set()
        """Calls that were cancelled while they ran here."""

    async def carry_out(self, ask: tool.Call) -> tool.Called:
        """Return the outcome of a call; asked again under the same id, the recorded one.

        Raises:
            ToolNotFound, ArgumentsInvalid: nothing ran.
            SandboxUnavailable, Overloaded: nothing ran.
            RequestConflict: the id was used for another call.
        """
        found = self._toolbox.named(ask.call.name)
        arguments = found.read(ask.call)
        if found.spec.sandboxed and ask.cell == "session":
            return await self._carry_out_where_the_cell_is(ask, found, arguments)
        return await self._carry_out(ask, found, arguments)

    async def carry_out_here(self, ask: tool.Call) -> tool.Called:
        """Return the outcome of a call whose session's cell is, or will be, one of this process; see `carry_out`."""
        found = self._toolbox.named(ask.call.name)
        return await self._carry_out(ask, found, found.read(ask.call))

    def cancel(self, call_id: str) -> None:
        """Stop the call if it runs here."""
        if self._means.once.cancel(call_id):
            self._unwanted.add(call_id)
            log.info("call cancelled", extra={"call": call_id})

    async def _carry_out_where_the_cell_is(self, ask: tool.Call, found: AnyTool, arguments: Any) -> tool.Called:
        """Who has a cell of the session begins at once; before anything runs, the session must still be its own."""
        if self._sessions.holds(ask.session):
            try:
                return await self._carry_out(ask, found, arguments, only_here=True)
            except _NotHere:
                log.info("session looked for", extra={"session": ask.session})
        called = await self._means.elsewhere.carry_out_there(ask)
        return await self._carry_out(ask, found, arguments) if called is None else called

    async def _carry_out(
        self, ask: tool.Call, found: AnyTool, arguments: Any, *, only_here: bool = False
    ) -> tool.Called:
        backend = self._backend_of(found)

        async def work() -> tool.Called:
            try:
                if only_here and not await self._means.elsewhere.is_here(ask.session):
                    raise _NotHere
                return _called(ask, await self._run(ask, found, arguments), backend)
            except asyncio.CancelledError:
                if found.spec.idempotent or ask.call_id not in self._unwanted:
                    raise
                return _called(ask, results.interrupted(), backend)

        async def lost() -> tool.Called:
            return _called(ask, results.lost("the tool executor died while it ran", backend=backend), backend)

        with self._means.telemetry.span(f"execute_tool {ask.call.name}", attributes=_attributes(ask, backend)) as span:
            called, known = await self._settle(ask, work, None if found.spec.idempotent else lost, backend)
            span.set_attribute(names.REPLAYED, known)
            _mark(span, called)
            return called.model_copy(update={"replayed": known})

    async def _settle(
        self, ask: tool.Call, work: Work, lost: Work | None, backend: str | None
    ) -> tuple[tool.Called, bool]:
        try:
            return await self._means.once.once(ask.call_id, ask, work, lost=lost, ignoring={"deltas_to"})
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                raise
            return _called(ask, results.interrupted(), backend), False
        finally:
            self._unwanted.discard(ask.call_id)

    async def _run(self, ask: tool.Call, found: AnyTool, arguments: Any) -> Result:
        unplaced: list[str] = []
        try:
            return results.without(await found.run(arguments, self._place(ask, found, unplaced)), unplaced)
        except FileRefused as error:
            return results.without(results.refused(error, backend=self._backend), unplaced)
        except CellLost as error:
            log.error("cell lost", extra={"session": ask.session, "call": ask.call_id, "reason": str(error)})
            return results.lost("its cell was lost", backend=self._backend, idempotent=found.spec.idempotent)

    def _place(self, ask: tool.Call, found: AnyTool, unplaced: list[str]) -> Place:
        @asynccontextmanager
        async def workspace() -> AsyncGenerator[Workspace]:
            if not found.spec.sandboxed:
                raise AssertionError(f"{found.spec.name!r} opens a workspace and does not say that it is sandboxed")
            opening = self._sessions.workspace(ask.session) if ask.cell == "session" else self._sessions.virgin()
            async with opening as opened:
                unplaced.extend(await self._put_in(ask, opened))
                yield opened

        limits = limits_of(ask.limits, self._settings, deadline_s=found.spec.deadline_s)
        return Place(ask, limits, self._means.media, workspace, self._backend, self._tell(ask))

    async def _put_in(self, ask: tool.Call, workspace: Workspace) -> list[str]:
        """Return in words what has found no place: only a call that is carried out can make room for it."""
        unplaced: list[str] = []
        for file in ask.files:
            if file.name in workspace.placed:
                continue
            try:
                if not await workspace.cell.has_file(file.name):
                    await workspace.cell.put_file(file.name, await self._means.media.bytes_of(file))
                workspace.placed.add(file.name)
            except (FileRefused, BlobNotFound) as error:
                unplaced.append(f"{file.name} is not in the workspace: {error}")
                if isinstance(error, BlobNotFound):
                    workspace.placed.add(file.name)
        return unplaced

    def _tell(self, ask: tool.Call) -> Tell | None:
        subject = ask.deltas_to
        if subject is None:
            return None
        told = 0

        async def tell(stream: Told, text: str) -> None:
            nonlocal told
            await self._means.say(subject, tool.Progress(call_id=ask.call_id, sequence=told, stream=stream, text=text))
            told += 1

        return tell

    def _backend_of(self, found: AnyTool) -> str | None:
        return self._backend if found.spec.sandboxed else None


def _called(ask: tool.Call, result: Result, backend: str | None) -> tool.Called:
    block = ToolResultBlock(
        id=ask.call.id, name=ask.call.name, output=result.output, state=result.state, metadata=result.metadata
    )
    return tool.Called(result=block, backend=backend)


def _attributes(ask: tool.Call, backend: str | None) -> dict[str, str]:
    attributes = {
        names.OPERATION: "execute_tool",
        names.TOOL: ask.call.name,
        names.TOOL_TYPE: "function",
        names.TOOL_CALL_ID: ask.call.id,
        names.CONVERSATION: ask.session,
    }
    optional = {names.BACKEND: backend, names.AGENT: ask.agent, names.TASK_ID: ask.task}
    return attributes | {name: value for name, value in optional.items() if value is not None}


def _mark(span: Span, called: tool.Called) -> None:
    if called.result.state != "success":
        fail_with(span, called.result.state)

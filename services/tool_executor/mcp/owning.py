"""A task that owns a session: it opens, keeps and closes it, since the SDK wants all of that in one task."""

import asyncio
import logging
from contextvars import Context

from natscope.contracts.errors import NatscopeError, ToolUnavailable
from services.tool_executor.mcp.entries import AnyEntry
from services.tool_executor.mcp.speaking import Open, Session

log = logging.getLogger(__name__)

CLOSE_S = 8.0
"""A close that takes longer is cancelled; a program's own end takes less (`programs`)."""


class Owner:
    """One session, from its opening to its end. May be closed from any task."""

    def __init__(self, server: str, entry: AnyEntry, open: Open) -> None:
        self._server = server
        self._entry = entry
        self._open = open
        self._left = asyncio.Event()
        self._session: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._own(), context=Context())

    async def session(self) -> Session:
        """Return the session once it is open.

        Raises:
            ToolUnavailable, CredentialMissing: it could not be opened, or not within `start_s`.
        """
        return await asyncio.shield(self._session)

    async def ended(self) -> None:
        """Return when the session is lost, or was closed."""
        await asyncio.wait([self._task])

    async def close(self) -> None:
        """Close the session and return when nothing is left of it."""
        self._left.set()
        if not self._session.done():
            self._task.cancel()
        for _ in range(3):
            await asyncio.wait([self._task], timeout=CLOSE_S)
            if self._task.done():
                return
            self._task.cancel()
        log.error("a session could not be closed", extra={"server": self._server})

    async def _own(self) -> None:
        try:
            await self._keep()
        except NatscopeError as error:
            self._fail(error)
        except TimeoutError:
            late = f"MCP server {self._server!r} was not ready within {self._entry.start_s:g} s"
            self._fail(ToolUnavailable(late))
        except Exception as error:
            log.warning("session broke", exc_info=True, extra={"server": self._server})
            self._fail(ToolUnavailable(f"MCP server {self._server!r}: {error}"))
        finally:
            self._fail(ToolUnavailable(f"the session with MCP server {self._server!r} was closed"))

    async def _keep(self) -> None:
        opening = asyncio.timeout(self._entry.start_s)
        async with opening, self._open(self._entry) as session:
            opening.reschedule(None)
            self._session.set_result(session)
            await _first(session.signs.lost, self._left)

    def _fail(self, error: NatscopeError) -> None:
        if not self._session.done():
            told = type(error)(f"MCP server {self._server!r}: {error.message}", remedy=error.remedy)
            self._session.set_exception(told)
            self._session.exception()


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()

"""A declared server as the house sees it: its tools, and a session to call them in."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context

from natscope.contracts.errors import NatscopeError
from services.tool_executor.mcp.entries import AnyEntry
from services.tool_executor.mcp.owning import Owner
from services.tool_executor.mcp.speaking import AnswerUnreadable, Offer, Open, ServerSaysNo, Session, SessionLost

log = logging.getLogger(__name__)

FIRST_S = 0.25
LONGEST_S = 30.0
"""Waits between attempts to connect: each twice the one before, give or take a quarter."""
HELD_S = 10.0
"""After a session that held so long, the waits begin anew."""
PROBE_S = 5.0
"""A server that has left a call unanswered has so long to answer anything at all."""

Tell = Callable[[], None]


class Connection:
    """A server that is declared; a task keeps its list of tools, and with `session: lasting` a session, up to date."""

    def __init__(self, server: str, entry: AnyEntry, open: Open, tell: Tell) -> None:
        """`tell` hears that the tools are not what they were."""
        self.server = server
        self.entry = entry
        self.offers: list[Offer] = []
        """Its tools, as it last told them."""
        self.tried = asyncio.Event()
        """Set once it has told its tools, or could not be asked for them, for the first time."""
        self._open = open
        self._tell = tell
        self._owner = self._begin()
        self._others: set[Owner] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._renewed = asyncio.Event()
        self._missed = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), context=Context())

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Session]:
        """Give a session for one call; waits while one is being opened.

        Raises:
            ToolUnavailable, CredentialMissing: there is none; nothing was asked.
        """
        if self.entry.session == "lasting":
            yield await self._lasting()
            return
        owner = self._begin()
        self._others.add(owner)
        try:
            yield await owner.session()
        finally:
            closing = asyncio.create_task(owner.close(), context=Context())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._others.discard(owner)

    async def probe(self) -> None:
        """Look, after a call without an answer, whether the server is alive; one that is not is started anew."""
        if self.entry.session == "per_call":
            return
        owner = self._owner
        try:
            async with asyncio.timeout(PROBE_S):
                await (await owner.session()).offers()
        except (TimeoutError, NatscopeError, SessionLost, AnswerUnreadable):
            log.warning("a server does not answer, its session is closed", extra={"server": self.server})
            await owner.close()
        except ServerSaysNo:
            pass

    async def close(self) -> None:
        """Close the session and stop; no child process is left."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await asyncio.gather(*(owner.close() for owner in (self._owner, *self._others)), *self._closing)

    async def _lasting(self) -> Session:
        """Return the lasting session; if there is none, the next attempt to open one is made at once."""
        failed = False
        while True:
            renewed = self._renewed
            try:
                session = await self._owner.session()
                if not session.signs.lost.is_set():
                    return session
            except NatscopeError:
                if failed:
                    raise
                failed = True
            self._missed.set()
            await renewed.wait()

    def _begin(self) -> Owner:
        return Owner(self.server, self.entry, self._open)

    async def _keep(self) -> None:
        loop, wait_s = asyncio.get_running_loop(), FIRST_S
        while True:
            began, owner = loop.time(), self._owner
            fault = await self._watch(owner)
            self.tried.set()
            await owner.close()
            if loop.time() - began > HELD_S:
                wait_s = FIRST_S
            if fault is None and self.entry.session == "per_call":
                wait_s, pause = FIRST_S, self.entry.refresh_s
            else:
                level = logging.WARNING if wait_s == FIRST_S else logging.INFO
                log.log(level, "MCP server lost", extra={"server": self.server, "reason": fault, "again_in_s": wait_s})
                wait_s, pause = min(2 * wait_s, LONGEST_S), wait_s * random.uniform(0.75, 1.25)  # noqa: S311
            await self._pause(pause)
            self._owner = self._begin()
            self._renewed.set()
            self._renewed = asyncio.Event()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than a short while if a session is missed."""
        self._missed.clear()
        await asyncio.sleep(min(seconds, FIRST_S))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds - FIRST_S)):
                await self._missed.wait()

    async def _watch(self, owner: Owner) -> str | None:
        """Keep the list of tools for as long as the session lasts; return why it ended, if that was no good end."""
        try:
            session = await owner.session()
            await self._list(session)
            if self.entry.session == "per_call":
                return None
            ended = asyncio.create_task(owner.ended())
            try:
                while not ended.done():
                    changed = asyncio.create_task(session.signs.changed.wait())
                    await asyncio.wait([ended, changed], return_when=asyncio.FIRST_COMPLETED)
                    changed.cancel()
                    if session.signs.changed.is_set() and not ended.done():
                        session.signs.changed.clear()
                        await self._list(session)
            finally:
                ended.cancel()
            return "the session ended"
        except TimeoutError:
            return f"it did not name its tools within {self.entry.start_s:g} s"
        except (NatscopeError, SessionLost, ServerSaysNo, AnswerUnreadable) as error:
            return str(error)

    async def _list(self, session: Session) -> None:
        async with asyncio.timeout(self.entry.start_s):
            offers = await session.offers()
        log.info("MCP server ready", extra={"server": self.server, "tools": [offer.name for offer in offers]})
        changed, self.offers = offers != self.offers, offers
        self.tried.set()
        if changed:
            self._tell()

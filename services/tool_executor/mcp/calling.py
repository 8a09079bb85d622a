"""Calls a server's tool within a deadline: whatever becomes of the server, it comes to a result or a typed error."""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from opentelemetry.trace import Span, SpanKind
from pydantic import JsonValue

from natscope.contracts.blocks import TextBlock
from natscope.contracts.errors import DeadlineExceeded, NatscopeError, ToolUnavailable
from natscope.telemetry import Telemetry, names
from natscope.telemetry.propagation import inject
from natscope.telemetry.setup import fail_with
from services.tool_executor.mcp.answers import blocks_of, metadata_of
from services.tool_executor.mcp.entries import ProgramEntry
from services.tool_executor.mcp.offering import McpTool
from services.tool_executor.mcp.speaking import (
    Answer,
    AnswerUnreadable,
    Hear,
    ServerSaysNo,
    SessionForgotten,
    SessionLost,
)
from services.tool_executor.tools.port import Media, Result

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Of a call that may be sent again."""
METHOD = "tools/call"


class _Unanswered(Exception):
    """The call was sent and not answered; its cause says what the asker of an idempotent tool is told."""


class Calling:
    """Calls tools of any server."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._behind: set[asyncio.Task[Any]] = set()
        """What goes on behind calls that are over."""

    async def call(
        self, tool: McpTool, given: Mapping[str, JsonValue], *, deadline_s: float, hear: Hear, media: Media
    ) -> Result:
        """Return what the call came to, within `deadline_s`.

        `error`: the tool or its server says that it failed. `unknown`: it was sent, and there is no answer; a tool that
        is idempotent is asked again instead, and raises if there is none even so.

        Raises:
            ToolUnavailable, CredentialMissing: nothing was sent.
            DeadlineExceeded, ToolUnavailable: an idempotent tool did not answer.
        """
        attributes = _attributes(tool)
        with self._telemetry.span(f"{METHOD} {tool.name}", kind=SpanKind.CLIENT, attributes=attributes) as span:
            try:
                answer = await self._within(deadline_s, tool, given, hear, meta=_trace(span))
            except ServerSaysNo as error:
                fail_with(span, "refused")
                return Result([TextBlock(text=f"the MCP server refused the call: {error}")], "error")
            except _Unanswered as error:
                fail_with(span, "unknown")
                return _unknown(tool, error)
            if answer.failed:
                fail_with(span, "tool_error")
            state = "error" if answer.failed else "success"
            return Result(await blocks_of(answer, media), state, metadata_of(answer))

    async def _within(
        self, deadline_s: float, tool: McpTool, given: Mapping[str, JsonValue], hear: Hear, *, meta: Mapping[str, str]
    ) -> Answer:
        sent = asyncio.Event()
        asking = asyncio.create_task(self._ask(tool, given, hear, meta=meta, sent=sent))
        try:
            await asyncio.wait([asking], timeout=deadline_s)
        finally:
            self._let_go(asking)
        if asking.done():
            return asking.result()
        late = f"{tool.spec.name!r} did not answer within {deadline_s:g} s"
        if not sent.is_set():
            raise ToolUnavailable(f"{late}: its MCP server is not connected; nothing was sent")
        self._keep(asyncio.create_task(tool.connection.probe(), context=Context()))
        raise _failure(tool, DeadlineExceeded(late))

    async def _ask(
        self,
        tool: McpTool,
        given: Mapping[str, JsonValue],
        hear: Hear,
        *,
        meta: Mapping[str, str],
        sent: asyncio.Event,
    ) -> Answer:
        why = ""
        for _ in range(ATTEMPTS):
            async with tool.connection.session() as session:
                sent.set()
                try:
                    return await session.call(tool.name, tool.arguments(given), meta, hear)
                except SessionForgotten as error:
                    why = str(error)
                    sent.clear()
                except (SessionLost, AnswerUnreadable) as error:
                    why = str(error)
                    if not tool.spec.idempotent:
                        break
        unavailable = ToolUnavailable(f"{tool.spec.name!r} did not answer: {why}")
        raise _failure(tool, unavailable) if sent.is_set() else unavailable

    def _let_go(self, asking: asyncio.Task[Answer]) -> None:
        """Stop asking without waiting for it: the SDK tells the server first, which may take longer than there is."""
        if not asking.done():
            asking.cancel()
            self._keep(asking)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._behind.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._behind.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a call that was given up ended", extra={"reason": repr(task.exception())})


def _failure(tool: McpTool, error: NatscopeError) -> Exception:
    """Return `error` where the asker may ask again; else that nobody knows."""
    return error if tool.spec.idempotent else _Unanswered(error.message)


def _unknown(tool: McpTool, why: Exception) -> Result:
    text = f"[the outcome is unknown: {why}. It may or may not have acted; it was not called again.]"
    return Result([TextBlock(text=text)], "unknown", {"server": tool.connection.server})


def _trace(span: Span) -> Mapping[str, str]:
    """Return what carries the trace to the server.

    Source: SEP-414, https://github.com/modelcontextprotocol/modelcontextprotocol/pull/414
    """
    meta: dict[str, str] = {}
    inject(meta, span)
    return meta


def _attributes(tool: McpTool) -> dict[str, str]:
    entry = tool.connection.entry
    return {
        names.MCP_METHOD: METHOD,
        names.MCP_SERVER: tool.connection.server,
        names.TOOL: tool.name,
        names.NETWORK_TRANSPORT: "pipe" if isinstance(entry, ProgramEntry) else "tcp",
    }

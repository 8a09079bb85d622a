"""Speaks with servers through the official SDK; the one file of the tool executor that imports it."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeVar, cast

import anyio
import httpx2
import mcp_types as wire
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from pydantic import JsonValue, ValidationError

from natscope.telemetry.setup import VERSION
from services.tool_executor.mcp.entries import AddressEntry, AnyEntry, Environment
from services.tool_executor.mcp.failures import no_session, one_line
from services.tool_executor.mcp.programs import LINE_BYTES, LineTooLong, Speaking
from services.tool_executor.mcp.schemas import sound
from services.tool_executor.mcp.speaking import (
    Answer,
    AnswerUnreadable,
    Hear,
    Offer,
    ServerSaysNo,
    Session,
    SessionForgotten,
    SessionLost,
    Signs,
)
from services.tool_executor.mcp.starting import Containers, started, text_of

log = logging.getLogger(__name__)
for noisy in ("mcp", "client", "httpx2"):
    # They log addresses and tracebacks of what is told here in one line; "client" is the SDK's own name for a logger.
    logging.getLogger(noisy).setLevel(logging.CRITICAL)
T = TypeVar("T")

GARBAGE_LINES = 100
"""So many lines that are no messages are passed over (banners, stray prints); one more, and the program is given up."""
PAGES = 100
CONNECT_S = 10.0
SILENCE_S = 3600.0
"""The longest silence in an answer's stream; a call's own deadline is shorter."""

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

_FAILURES = (ExceptionGroup, MCPError, httpx2.HTTPError, OSError, RuntimeError, ValidationError, SessionLost)
_TRANSPORT = frozenset({wire.CONNECTION_CLOSED, wire.REQUEST_TIMEOUT})
_HTTP_FAILED = (wire.INTERNAL_ERROR, "Server returned an error response")
_HTTP_FORGOTTEN = (wire.INVALID_REQUEST, "Session terminated")
"""What the SDK makes of an HTTP status, in lieu of an answer: mcp/client/streamable_http.py, `_handle_post_request`."""


def opener(
    environment: Environment, containers: Containers | None = None
) -> Callable[[AnyEntry], AbstractAsyncContextManager[Session]]:
    """Return what opens sessions; the entries' variables are looked up in `environment`."""

    def open(entry: AnyEntry) -> AbstractAsyncContextManager[Session]:
        return _opened(entry, environment, containers)

    return open


@asynccontextmanager
async def _opened(entry: AnyEntry, environment: Environment, containers: Containers | None) -> AsyncGenerator[Session]:
    signs = Signs()
    if isinstance(entry, AddressEntry):
        try:
            async with _session(entry, _network(entry, environment), signs) as session:
                yield session
        except _FAILURES as error:
            raise no_session(error) from error
        return
    async with started(entry, environment, containers) as program:
        try:
            async with _session(entry, _lines(program, signs), signs) as session:
                yield session
        except _FAILURES as error:
            raise no_session(error, await program.last_words()) from error


@asynccontextmanager
async def _session(entry: AnyEntry, transport: Any, signs: Signs) -> AsyncGenerator[Session]:
    async def hear(message: object) -> None:
        if isinstance(message, wire.ToolListChangedNotification):
            signs.changed.set()

    client = Client(
        _noticing(transport, signs),
        client_info=wire.Implementation(name="natscope", version=VERSION),
        mode="legacy" if entry.protocol == "handshake" else "auto",
        message_handler=hear,
        cache=None,
    )
    async with client, _following(client, signs) if entry.session == "lasting" else nullcontext():
        yield _McpSession(client, signs)


@asynccontextmanager
async def _following(client: Client, signs: Signs) -> AsyncGenerator[None]:
    """Hear, while the body runs, that the tools have changed, from servers that have to be asked to tell it."""
    capability = client.server_capabilities.tools
    if client.session.discover_result is None or capability is None or not capability.list_changed:
        yield
        return

    async def listen() -> None:
        try:
            async with client.listen(tools_list_changed=True) as events:
                signs.changed.set()
                async for _ in events:
                    signs.changed.set()
        except MCPError as error:
            log.info("a server does not tell when its tools change", extra={"reason": one_line(error)})
            return
        except (RuntimeError, TimeoutError) as error:
            log.info("a server tells no more when its tools change", extra={"reason": one_line(error)})
        signs.lost.set()

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        yield
        group.cancel_scope.cancel()


class _McpSession:
    """Implements `Session`."""

    def __init__(self, client: Client, signs: Signs) -> None:
        self._client = client
        self.signs = signs

    async def offers(self) -> list[Offer]:
        """Return the server's tools, page by page."""
        found: list[Offer] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await _asked(lambda at=cursor: self._client.list_tools(cursor=at), self.signs)
            found += [_offer(tool) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def call(self, tool: str, arguments: Mapping[str, JsonValue], meta: Mapping[str, str], hear: Hear) -> Answer:
        """Call a tool."""

        async def told(progress: float, total: float | None, message: str | None) -> None:
            share = f"{progress:g}" if total is None else f"{progress:g}/{total:g}"
            await hear(f"{share} {message}".rstrip() if message else share)

        result = await _asked(
            lambda: self._client.call_tool(tool, dict(arguments), progress_callback=told, meta=cast("Any", dict(meta))),
            self.signs,
        )
        content = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
        return Answer(content, result.structured_content, result.is_error)


async def _asked(ask: Callable[[], Awaitable[T]], signs: Signs) -> T:
    """Return the answer, or raise what went wrong in the port's words."""
    try:
        return await ask()
    except MCPError as error:
        if (error.code, error.message) == _HTTP_FORGOTTEN:
            signs.lost.set()
            raise SessionForgotten(error.message) from error
        if error.code in _TRANSPORT or (error.code, error.message) == _HTTP_FAILED:
            signs.lost.set()
            raise SessionLost(error.message) from error
        raise ServerSaysNo(f"{error.message} ({error.code})") from error
    except (anyio.ClosedResourceError, anyio.BrokenResourceError, httpx2.HTTPError, OSError) as error:
        signs.lost.set()
        raise SessionLost(one_line(error)) from error
    except (ValidationError, RuntimeError) as error:
        raise AnswerUnreadable(one_line(error)) from error


@asynccontextmanager
async def _lines(program: Speaking, signs: Signs) -> AsyncGenerator[Streams]:
    """Turn a program's lines into messages and back."""
    arrived, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        garbage = 0
        async with arrived:
            async for line in program.lines():
                try:
                    message = wire.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    garbage += bool(line.strip())
                    if garbage > GARBAGE_LINES:
                        raise SessionLost("it writes what is no message") from None
                    continue
                await arrived.send(SessionMessage(message))

    async def write() -> None:
        async with leaving:
            async for item in leaving:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await program.write(text.encode())

    async def until_lost(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (SessionLost, LineTooLong, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            log.info("a program is given up", extra={"reason": one_line(error)})
        signs.lost.set()
        arrived.close()

    async with anyio.create_task_group() as group:
        group.start_soon(until_lost, read)
        group.start_soon(until_lost, write)
        try:
            yield incoming, outgoing
        finally:
            group.cancel_scope.cancel()
            for stream in (arrived, incoming, outgoing, leaving):
                stream.close()


@asynccontextmanager
async def _network(entry: AddressEntry, environment: Environment) -> AsyncGenerator[Any]:
    url = text_of(entry.url, environment)
    headers = {name: text_of(value, environment) for name, value in entry.headers.items()}
    if entry.kind == "sse":
        async with sse_client(url, headers=headers, timeout=CONNECT_S, sse_read_timeout=SILENCE_S) as streams:
            yield streams
        return
    timeout = httpx2.Timeout(CONNECT_S, read=SILENCE_S)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout) as http,
        streamable_http_client(url, http_client=http, max_sse_event_size=LINE_BYTES) as streams,
    ):
        yield streams


@asynccontextmanager
async def _noticing(transport: Any, signs: Signs) -> AsyncGenerator[Streams]:
    """Pass a transport's messages on, and notice their end."""
    async with transport as (source, outgoing), anyio.create_task_group() as group:
        arrived, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)

        async def pump() -> None:
            async with arrived:
                try:
                    async for item in source:
                        await arrived.send(_screened(item))
                except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                    pass
            signs.lost.set()

        group.start_soon(pump)
        try:
            yield incoming, outgoing
        finally:
            group.cancel_scope.cancel()
            incoming.close()
            arrived.close()


def _screened(item: SessionMessage | Exception) -> SessionMessage | Exception:
    """Return a message, without those tools in a list of them for which the SDK would refuse the whole list."""
    if isinstance(item, SessionMessage) and isinstance(item.message, wire.JSONRPCResponse):
        tools = item.message.result.get("tools")
        if isinstance(tools, list) and "content" not in item.message.result:
            item.message.result["tools"] = sound(tools)
    return item


def _offer(tool: wire.Tool) -> Offer:
    hints = tool.annotations or wire.ToolAnnotations()
    read_only = bool(hints.read_only_hint)
    return Offer(
        name=tool.name,
        description=tool.description or tool.title or hints.title or tool.name,
        parameters=tool.input_schema,
        read_only=read_only,
        idempotent=read_only or bool(hints.idempotent_hint),
    )

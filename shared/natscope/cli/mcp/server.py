"""Speaks MCP to clients through the official SDK; the one file of the library that imports it."""

import asyncio
import base64
import contextlib
import hmac
import logging
import signal
import socket
import weakref
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any, cast
from urllib.parse import quote

import mcp_types as wire
import uvicorn
from mcp import MCPError
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.models import InitializationOptions
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from opentelemetry.trace import SpanKind

from natscope.bus.blobs import Blobs
from natscope.cli.mcp.incoming import lines
from natscope.cli.mcp.offering import Offer, Offering, Outcome
from natscope.cli.mcp.watching import watched
from natscope.contracts.blocks import AudioBlock, ContentBlock, FileBlock, ImageBlock, TextBlock, URLSource, VideoBlock
from natscope.contracts.errors import NatscopeError, Refused, ToolNotFound
from natscope.telemetry import names
from natscope.telemetry.propagation import extract
from natscope.telemetry.setup import VERSION, fail_with

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MEDIA_BYTES = 16 << 20
"""Heavier media are named and not sent."""
PATH = "/mcp"
STOP_S = 3
ABOUT = "Agents of a natscope house. An agent is given a task, works on it by itself, and answers."

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Context = ServerRequestContext[Any, Any]


async def over_pipes(offering: Offering) -> None:
    """Serve the client at standard input and output until it leaves, or SIGTERM comes."""
    for noisy in ("mcp", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    server = _Server(offering)

    async def serve() -> None:
        async with (
            watched(offering, server.tell_clients),
            stdio_server(stdin=cast("Any", lines())) as (incoming, outgoing),
        ):
            await server.run(incoming, outgoing, server.create_initialization_options())

    serving = asyncio.create_task(serve())
    _on_signals(serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


async def over_http(offering: Offering, *, host: str, port: int, token: str | None, say: Callable[[str], None]) -> None:
    """Serve clients over streamable HTTP until Ctrl-C or SIGTERM; `say` hears the address.

    With `token`, a request has to carry it as `Authorization: Bearer …`.

    Raises:
        Refused: others than this machine could come in without a token, or the address is taken.
    """
    if host not in LOOPBACK and token is None:
        raise Refused(
            f"whoever reaches {host} could use the agents", remedy="set NATSCOPE_MCP_TOKEN, or stay at 127.0.0.1"
        )
    try:
        bound = socket.create_server((host, port))
    except OSError as error:
        raise Refused(f"{host}:{port} cannot be listened at: {error.strerror}", remedy="name another port") from error
    server = _Server(offering)
    app: App = server.streamable_http_app(streamable_http_path=PATH, host=host)
    guarded = app if token is None else _guarded(app, token)
    config = uvicorn.Config(guarded, log_config=None, lifespan="on", timeout_graceful_shutdown=STOP_S)
    running = _Uvicorn(config)
    _on_signals(running.leave)
    with bound:
        async with watched(offering, server.tell_clients):
            say(f"http://{host}:{bound.getsockname()[1]}{PATH}")
            await running.serve(sockets=[bound])


class _Uvicorn(uvicorn.Server):
    """Leaves signals to whoever runs it: uvicorn's own way would end the process before tasks are interrupted."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def leave(self) -> None:
        self.should_exit = True


def _on_signals(leave: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, leave)


def _guarded(app: App, token: str) -> App:
    expected = f"Bearer {token}".encode()

    async def guarded(scope: Scope, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers") or []).get(b"authorization", b"")
        if scope["type"] != "http" or hmac.compare_digest(given, expected):
            await app(scope, receive, send)
            return
        headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return guarded


class _Server(Server[Any]):
    """The SDK's server, which besides tells clients of either era that the tools are others."""

    def __init__(self, offering: Offering) -> None:
        self._offering = offering
        self._changes = InMemorySubscriptionBus()
        self._lasting: weakref.WeakSet[Connection] = weakref.WeakSet()
        super().__init__(
            "natscope",
            version=VERSION,
            instructions=ABOUT,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_subscriptions_listen=ListenHandler(self._changes),
        )

    def create_initialization_options(self, *given: Any, **named: Any) -> InitializationOptions:
        """Say, besides, that clients are told."""
        options = super().create_initialization_options(*given, **named)
        told = wire.ToolsCapability(list_changed=True)
        return options.model_copy(update={"capabilities": options.capabilities.model_copy(update={"tools": told})})

    async def tell_clients(self) -> None:
        """Tell the clients that have asked for the tools."""
        await self._changes.publish(ToolsListChanged())
        for connection in tuple(self._lasting):
            await connection.send_tool_list_changed()

    async def _list(self, context: Context, _: wire.PaginatedRequestParams | None) -> wire.ListToolsResult:
        # The SDK gives a handler a session for one request; what lasts is the connection below it.
        self._lasting.add(context.session._connection)
        offers = await self._offering.offers()
        return wire.ListToolsResult(tools=[_shown(offer) for offer in offers.values()])

    async def _call(self, context: Context, params: wire.CallToolRequestParams) -> wire.CallToolResult:
        return await _called(self._offering, context, params)


def _shown(offer: Offer) -> wire.Tool:
    hints = wire.ToolAnnotations(read_only_hint=offer.read_only, idempotent_hint=offer.idempotent)
    return wire.Tool(name=offer.name, description=offer.description, input_schema=offer.parameters, annotations=hints)


async def _called(offering: Offering, context: Context, params: wire.CallToolRequestParams) -> wire.CallToolResult:
    told = 0

    async def tell(text: str) -> None:
        nonlocal told
        told += 1
        await context.session.report_progress(told, message=text)

    bus = offering.house.bus
    above = extract({key: value for key, value in (context.meta or {}).items() if isinstance(value, str)})
    attributes = {names.MCP_METHOD: context.method, names.TOOL: params.name}
    try:
        with bus.telemetry.span("tools/call", kind=SpanKind.SERVER, attributes=attributes, parent=above) as span:
            outcome = await offering.call(params.name, params.arguments or {}, tell)
            if outcome.failed:
                fail_with(span, "tool_error")
    except ToolNotFound as error:
        raise MCPError(wire.INVALID_PARAMS, str(error)) from error
    except NatscopeError as error:
        return wire.CallToolResult(content=[wire.TextContent(text=str(error))], is_error=True)
    return await _result(outcome, bus.blobs)


async def _result(outcome: Outcome, blobs: Blobs) -> wire.CallToolResult:
    shown = [await _content(block, blobs) for block in outcome.content]
    return wire.CallToolResult(
        content=[block for block in shown if block is not None],
        is_error=outcome.failed,
        structured_content=outcome.structured,
        _meta={f"natscope/{key}": value for key, value in outcome.metadata.items()},
    )


async def _content(block: ContentBlock, blobs: Blobs) -> wire.ContentBlock | None:
    if isinstance(block, TextBlock):
        return wire.TextContent(text=block.text)
    if not isinstance(block, ImageBlock | AudioBlock | VideoBlock | FileBlock):
        return None
    name = block.name if isinstance(block, FileBlock) else block.type
    source, kind = block.source, block.source.media_type
    if isinstance(source, URLSource) and not source.url.startswith("nats:"):
        return wire.ResourceLink(uri=source.url, name=name, mime_type=kind)
    if isinstance(source, URLSource) and (source.size_bytes or 0) > MEDIA_BYTES:
        return wire.TextContent(text=f"[{name}: {kind}, {source.size_bytes:,} bytes, too heavy to send]")
    data = base64.b64encode(await blobs.bytes_of(block)).decode()
    if isinstance(block, ImageBlock):
        return wire.ImageContent(data=data, mime_type=kind)
    if isinstance(block, AudioBlock):
        return wire.AudioContent(data=data, mime_type=kind)
    uri = f"natscope:///{quote(name)}"
    return wire.EmbeddedResource(resource=wire.BlobResourceContents(uri=uri, mime_type=kind, blob=data))

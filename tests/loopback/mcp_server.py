"""An MCP server built with the official SDK, to be run as a program: `mcp_server.py stdio | http <port> | sse <port>`.

MCP_LOG names a file that gets a line for each call of `note`.
"""

import asyncio
import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

READ_ONLY = ToolAnnotations(read_only_hint=True)
server = MCPServer("loopback", log_level="ERROR")


def write(line: str) -> int:
    """Append a line and return how many there are."""
    path = Path(os.environ["MCP_LOG"])
    with path.open("a") as file:
        file.write(f"{line}\n")
    return len(path.read_text().splitlines())


@server.tool(annotations=READ_ONLY)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(structured_output=False)
def note(text: str, author: str = "nobody", secret: str = "") -> str:
    """Write a line; twice is two lines."""
    write(f"{text}|{author}|{secret}")
    return f"noted {text} by {author}"


@server.tool(structured_output=False)
async def note_slowly(text: str, seconds: float) -> str:
    """Write a line, then take a while to say so."""
    write(text)
    await asyncio.sleep(seconds)
    return "noted"


@server.tool(annotations=ToolAnnotations(idempotent_hint=True), structured_output=False)
async def note_same(text: str) -> str:
    """Write a line and die the first time."""
    if write(text) == 1:
        os._exit(7)
    return "noted"


@server.tool(annotations=READ_ONLY, structured_output=False)
def trace(context: Context) -> str:
    """Tell what came along with the call."""
    meta: Any = context.request_context.meta or {}
    return str(meta.get("traceparent"))


@server.tool(annotations=READ_ONLY, structured_output=False)
def header(name: str, context: Context) -> str:
    """Tell what the client's HTTP request says."""
    return str((context.headers or {}).get(name))


@server.tool(annotations=READ_ONLY, structured_output=False)
async def count(to: int, context: Context) -> str:
    """Count and tell about it."""
    for each in range(1, to + 1):
        await context.report_progress(each, to, f"at {each}")
    return "counted"


@server.tool(structured_output=False)
def media(size: int) -> list[Any]:
    """Give one of each."""
    data = base64.b64encode(b"\x07" * size).decode()
    text = TextResourceContents(uri="note://a", mime_type="text/plain", text="inside")
    blob = BlobResourceContents(uri="file:///tmp/../some%20table.bin", mime_type="application/x-table", blob=data)
    return [
        TextContent(text="words"),
        ImageContent(data=data, mime_type="image/png"),
        AudioContent(data=data, mime_type="audio/wav"),
        EmbeddedResource(resource=text),
        EmbeddedResource(resource=blob),
        ResourceLink(uri="https://example.org/x", name="x", description="elsewhere"),
    ]


@server.tool(structured_output=False)
def fail() -> str:
    """Fail."""
    raise ValueError("no luck")


@server.tool(structured_output=False)
def die() -> str:
    """End the server."""
    os._exit(3)


@server.tool(annotations=READ_ONLY, structured_output=False)
def pid() -> str:
    """Tell the server's process."""
    return str(os.getpid())


@server.tool(structured_output=False)
def hang() -> str:
    """Hold up the whole server."""
    import time

    time.sleep(3600)
    return "never"


@server.tool(structured_output=False)
def breed() -> str:
    """Start programs that outlive the server, one of them in a session of its own."""
    command = [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(3600)"]
    children = [subprocess.Popen(command, start_new_session=own) for own in (False, True)]
    return " ".join(str(child.pid) for child in children)


@server.tool(structured_output=False)
async def grow(name: str, context: Context) -> str:
    """Have one tool more."""

    @server.tool(name=name, structured_output=False)
    def another() -> str:
        """A new tool."""
        return "new"

    await context.notify_tools_changed()
    await context.session.send_tool_list_changed()
    return name


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    elif sys.argv[1] == "http":
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run("sse", port=int(sys.argv[2]))

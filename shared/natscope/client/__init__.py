"""The key for guests: `async with natscope.client.open() as house`, then submit, listen, interrupt, serve a tool."""

from typing import TYPE_CHECKING

from natscope.client.attaching import Attachment
from natscope.client.house import House, open
from natscope.client.hubs import Hub, Utterance
from natscope.client.ticket import Heard, Ticket
from natscope.client.tools import Tool, ToolContext, tool
from natscope.client.traces import Trace
from natscope.client.workspaces import Workspace

if TYPE_CHECKING:
    from natscope.client.serving import serve

__all__ = [
    "Attachment",
    "Heard",
    "House",
    "Hub",
    "Ticket",
    "Tool",
    "ToolContext",
    "Trace",
    "Utterance",
    "Workspace",
    "open",
    "serve",
    "tool",
]


def __getattr__(name: str) -> object:
    """Load what serves tools when it is first named: it answers, and so needs FastStream (0.6 s)."""
    if name != "serve":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from natscope.client.serving import serve

    return serve

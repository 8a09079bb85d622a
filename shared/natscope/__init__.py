"""Multi-agent platform on NATS: contracts, bus, telemetry and client."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from natscope.agents import Context, agent
    from natscope.client.hooking import serve_hooks
    from natscope.client.serving import serve
    from natscope.client.tools import ToolContext, tool
    from natscope.hooks import hook

__all__ = ["Context", "ToolContext", "agent", "hook", "serve", "serve_hooks", "tool"]
_PLACES = {
    "Context": "natscope.agents",
    "agent": "natscope.agents",
    "hook": "natscope.hooks",
    "serve_hooks": "natscope.client.hooking",
}


def __getattr__(name: str) -> object:
    """Load the client when something of it is first named: the services need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES.get(name, "natscope.client")), name)

"""Multi-agent platform on NATS: contracts, bus, telemetry and client."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from natscope.agents import Context, agent
    from natscope.client.serving import serve
    from natscope.client.tools import ToolContext, tool

__all__ = ["Context", "ToolContext", "agent", "serve", "tool"]


def __getattr__(name: str) -> object:
    """Load the client when something of it is first named: the services need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from natscope import agents, client

    return getattr(agents if name in ("Context", "agent") else client, name)

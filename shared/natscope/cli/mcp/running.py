"""Runs `natscope mcp`: the connection to the house, and one of the two ways in."""

import os
import sys
from dataclasses import dataclass

from natscope import client
from natscope.cli.asking import NAME
from natscope.cli.mcp.offering import Offering
from natscope.cli.outcome import COMPLETED
from natscope.contracts.errors import Refused


@dataclass(frozen=True)
class Way:
    """What is offered, and where."""

    agents: tuple[str, ...] = ()
    """Only these; none named: all."""
    tools: bool = False
    http: int | None = None
    """A port; None: standard input and output."""
    host: str = "127.0.0.1"


async def serve(way: Way) -> int:
    """Serve MCP clients until they leave or a signal comes; tasks that then still run for them are interrupted.

    Raises:
        Refused: the SDK is not installed, or the address cannot be used.
    """
    try:
        from natscope.cli.mcp import server
    except ModuleNotFoundError as error:
        raise Refused(f"{error.name} is not installed", remedy="pip install 'natscope[mcp]'") from None
    async with client.open(name=NAME) as house:
        offering = Offering(house, agents=way.agents, tools=way.tools)
        try:
            if way.http is None:
                await server.over_pipes(offering)
            else:
                token = os.environ.get("NATSCOPE_MCP_TOKEN") or None
                await server.over_http(offering, host=way.host, port=way.http, token=token, say=_say)
        finally:
            await offering.close()
    return COMPLETED


def _say(address: str) -> None:
    sys.stderr.write(f"MCP at {address}; Ctrl-C ends it\n")
    sys.stderr.flush()

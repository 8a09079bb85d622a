"""Runs `natscope mcp`: the connection to the house, and one of the two ways in."""

import os
import sys
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from natscope import client
from natscope.cli.asking import NAME
from natscope.cli.mcp.offering import Offering
from natscope.cli.outcome import COMPLETED
from natscope.client.submitting import check_agent
from natscope.contracts import tool
from natscope.contracts.contract import new_id
from natscope.contracts.errors import CredentialRefused, Refused

PATIENCE_S = 2.0


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
        AgentNotFound: one of the agents is not applied.
        CredentialRefused: tools are to be offered, and whoever we are at NATS may call none.
    """
    try:
        from natscope.cli.mcp import server
    except ModuleNotFoundError as error:
        raise Refused(f"{error.name} is not installed", remedy="pip install 'natscope[mcp]'") from None
    async with client.open(name=NAME) as house:
        for agent in way.agents:
            await check_agent(house.bus, agent)
        if way.tools:
            await _see_that_tools_may_be_called(house)
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


async def _see_that_tools_may_be_called(house: client.House) -> None:
    """Ask for a tool that nobody has: a server that lets us says at once that there is none, another says nothing."""
    try:
        await house.bus.nc.request(tool.CALL.at(f"none-{new_id()[:16]}"), b"", timeout=PATIENCE_S)
    except NoRespondersError:
        return
    except NatsError as error:
        raise CredentialRefused(
            "calling tools is more than this NATS user may", remedy="set NATS_USER=tool-caller and NATS_PASSWORD"
        ) from error


def _say(address: str) -> None:
    sys.stderr.write(f"MCP at {address}; Ctrl-C ends it\n")
    sys.stderr.flush()

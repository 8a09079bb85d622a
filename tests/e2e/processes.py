"""The house in processes of its own: nats-server under deploy/nats.conf, and each service as compose starts it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.streams import AGENTS, StreamSettings, provision
from natscope.client.agent_files import read_all
from natscope.contracts.agent import AgentSpec
from natscope.contracts.task import FINISHED, SUBMIT_IN, Finished, Submit
from natscope.telemetry import Telemetry
from tests.nats_server import NatsServer

ROOT = Path(__file__).parents[2]
SERVICES = ("memory", "model-gateway", "tool-executor", "agent")


@dataclass
class ServiceProcess:
    """One service, as a process that may be killed and started again."""

    name: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it is ready when it answers `$SRV.PING.<name>`."""
        with self.log.open("ab") as log:
            module = f"services.{self.name.replace('-', '_')}"
            self.process = subprocess.Popen(
                [sys.executable, "-m", module], env=self.environment, cwd=ROOT, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9


@dataclass
class ProcessHouse:
    """The running house and a guest's connection to it."""

    bus: Bus
    server: NatsServer
    services: dict[str, ServiceProcess]
    folder: Path
    _spare: list[ServiceProcess] = field(default_factory=list[ServiceProcess])

    async def ready(self, *names: str, within_s: float = 120) -> None:
        """Return when each of the services answers."""
        async with asyncio.timeout(within_s):
            for name in names or SERVICES:
                while True:
                    try:
                        await self.bus.nc.request(f"$SRV.PING.{name}", b"", timeout=0.5)
                        break
                    except Exception:
                        await asyncio.sleep(0.05)

    async def restart(self, name: str) -> None:
        """Start a service again and return when it answers."""
        self.services[name].start()
        await self.ready(name)

    async def apply(self, *specs: AgentSpec) -> None:
        """Apply agents, as the operator does."""
        async with connect("admin", _admin(self.server.url)) as bus:
            for spec in specs:
                await bus.js.publish(f"$KV.{AGENTS}.{spec.name}", spec.model_dump_json().encode())

    async def submit(self, task: Submit, agent: str = "assistant") -> str:
        """Submit a task as a client does and return its trace's id."""
        with self.bus.telemetry.span("test") as span:
            await self.bus.submit(SUBMIT_IN, task, agent, task.lane, message_id=task.task_id)
            return f"{span.get_span_context().trace_id:032x}"

    async def outcomes(self, task_id: str, *, within_s: float = 150) -> list[Finished]:
        """Return every outcome recorded for a task, once there is one."""
        subscription = await self.bus.js.subscribe(FINISHED.at(task_id), ordered_consumer=True)
        first = await subscription.next_msg(timeout=within_s)
        found = [await self.bus.read(FINISHED, first)]
        try:
            while True:
                found.append(await self.bus.read(FINISHED, await subscription.next_msg(timeout=0.5)))
        except TimeoutError:
            await subscription.unsubscribe()
            return found

    def logs(self) -> str:
        """What the services have written, for a failing test."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.folder.glob("*.log")))


@asynccontextmanager
async def process_house(
    folder: Path, *, telemetry: Telemetry, environment: dict[str, str], ack_wait_s: float = 2
) -> AsyncGenerator[ProcessHouse]:
    """Start everything, each service as its own NATS user, and end all of it afterwards."""
    users = ("admin", "tool-host", "tool-caller", *SERVICES)
    passwords = {f"NATS_{user.upper().replace('-', '_')}_PASSWORD": f"of-{user}" for user in users}
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"}
    for known in ("DOCKER_HOST", "SSL_CERT_FILE"):
        if known in os.environ:
            base[known] = os.environ[known]
    server = NatsServer(
        folder / "nats", config=ROOT / "deploy" / "nats.conf", env=base | passwords | {"NATS_SYNC_INTERVAL": "10s"}
    ).start()
    services: dict[str, ServiceProcess] = {}
    try:
        await _provision(server.url, ack_wait_s)
        for name in SERVICES:
            own = {"NATS_URL": server.url, "NATS_USER": name, "NATS_PASSWORD": f"of-{name}"}
            own["AGENT_BEAT"] = str(ack_wait_s / 4)
            services[name] = ServiceProcess(name, base | environment | own, folder / f"{name}.log")
            services[name].start()
        async with AsyncExitStack() as stack:
            guest = BusSettings.model_construct(url=server.url, user=None, password=None, credentials=None)
            bus = await stack.enter_async_context(connect("guest", guest, telemetry))
            house = ProcessHouse(bus, server, services, folder)
            await house.ready()
            yield house
    finally:
        for service in services.values():
            if service.process is not None and service.process.poll() is None:
                # In a thread: a collector in this loop gets the spans that a service sends while it ends.
                await asyncio.to_thread(service.end)
        server.stop()


async def _provision(url: str, ack_wait_s: float) -> None:
    async with connect("admin", _admin(url)) as bus:
        layout = StreamSettings(ack_wait=timedelta(seconds=ack_wait_s))
        await provision(bus.js, layout)
        for spec in read_all(ROOT / "deploy" / "agents"):
            await bus.js.publish(f"$KV.{AGENTS}.{spec.name}", spec.model_dump_json().encode())


def _admin(url: str) -> BusSettings:
    return BusSettings.model_construct(url=url, user="admin", password=SecretStr("of-admin"), credentials=None)

"""The house in processes that may each be killed at any instant, with a counter outside for everything really done."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.streams import AGENTS, StreamSettings, provision
from tests.chaos import story
from tests.chaos.leftovers import Found, processes
from tests.nats_server import NatsServer

ROOT = Path(__file__).resolve().parents[2]
USERS = ("admin", "agent", "model-gateway", "tool-executor", "memory", "tool-host", "tool-caller")
SERVICES = {
    "memory": "services.memory",
    "model-gateway": "services.model_gateway",
    "tool-executor": "services.tool_executor",
    "agent-1": "services.agent",
    "agent-2": "services.agent",
}
BOOKING, CUSTOMER, SERVER = "tool host", "client", "nats-server"
OPEN = '"event": "open"'
ACK_WAIT_S = 10.0
"""How long after a worker's last sign of life its task goes to another one: what the platform has by default."""


@dataclass
class Part:
    """One process of the house."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    _opened: int = 0

    def start(self) -> None:
        """Start it, or start it again."""
        self._opened = self._told()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.environment, cwd=ROOT, stdout=log, stderr=log)

    def works(self) -> bool:
        """Return whether it has said, since it was started last, that it is open."""
        return self._told() > self._opened

    def _told(self) -> int:
        return self.log.read_text().count(OPEN) if self.log.exists() else 0

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """SIGTERM, and wait."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(25)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class House:
    """All processes, and what they are killed with."""

    server: NatsServer
    parts: dict[str, Part]
    folder: Path
    mark: str
    """On the command line of every cell of bubblewrap's, and like no other house's."""
    platform: str
    """On every container."""
    kills: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    """What was killed, and when (monotonic seconds)."""
    counted: Counter[str] = field(default_factory=Counter[str])
    """How often programs in cells really ran."""

    async def kill(self, name: str, *, dead_s: float) -> None:
        """kill -9 of a part that is back after so many seconds."""
        self.kills.append((name, time.monotonic()))
        if name == SERVER:
            self.server.kill()
            await asyncio.sleep(dead_s)
            await asyncio.to_thread(self.server.start)
            return
        await asyncio.to_thread(self.parts[name].kill)
        await asyncio.sleep(dead_s)
        self.parts[name].start()

    def tend(self) -> bool:
        """Start again what has given up by itself, as its operator would; whether the client has every outcome."""
        for part in self.parts.values():
            code = part.process.poll() if part.process is not None else 0
            if code is not None and not (code == 0 and part.name == CUSTOMER):
                part.start()
        return self._is_over()

    def _is_over(self) -> bool:
        customer = self.parts[CUSTOMER].process
        return customer is not None and customer.poll() == 0

    def works(self, name: str) -> bool:
        """Return whether a part does its work by now."""
        return name == SERVER or self.parts[name].works()

    def begun(self) -> bool:
        """Return whether the client has heard anything."""
        return (self.folder / "notes").exists() and (self.folder / "notes").stat().st_size > 0

    def booked(self) -> Counter[str]:
        """Return how often each booking was really made."""
        place = self.folder / "booked"
        return Counter(place.read_text().split() if place.exists() else [])

    def cells(self) -> list[Found]:
        """Return the processes of bubblewrap's cells."""
        return processes(self.mark)

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[Bus]:
        """Give a connection that may read everything."""
        async with connect("admin", _settings(self.server.url)) as bus:
            yield bus

    def logs(self) -> str:
        """Return what the parts have said last."""
        return "\n".join(f"--- {path}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


@asynccontextmanager
async def opened(
    folder: Path, *, provider: str, backend: str, runs: int, at_once: int, ack_wait_s: float = ACK_WAIT_S
) -> AsyncGenerator[House]:
    """Start everything but the client, each part as its own NATS user, and end all of it afterwards."""
    passwords = {f"NATS_{user.upper().replace('-', '_')}_PASSWORD": f"of-{user}" for user in USERS}
    base = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}", "PYTHONDONTWRITEBYTECODE": "1"}
    config = ROOT / "deploy" / "nats.conf"
    server = NatsServer(folder / "nats", config=config, env=base | passwords | {"NATS_SYNC_INTERVAL": "10s"}).start()
    idle = timedelta(seconds=5, microseconds=random.randrange(1_000_000))
    mark = f'"idle_exit_s": {(2 * idle + timedelta(minutes=1)).total_seconds()}'
    house = House(server, {}, folder, mark, platform=folder.name)
    common = base | _of_the_house(folder, provider, backend, idle)
    common |= {"NATS_URL": server.url, "AGENT_BEAT": str(0.3 * ack_wait_s)}
    try:
        await _provision(server.url, ack_wait_s)
        for name, module in SERVICES.items():
            user = module.rpartition(".")[2].replace("_", "-")
            house.parts[name] = _part(name, [module], common, folder, user)
        booking = ["tests.chaos.booking", str(folder / "booked")]
        house.parts[BOOKING] = _part(BOOKING, booking, common, folder, "tool-host")
        for part in house.parts.values():
            part.start()
        customer = ["tests.chaos.customer", str(folder / "notes"), f"--runs={runs}", f"--at-once={at_once}"]
        house.parts[CUSTOMER] = _part(CUSTOMER, customer, common, folder, None)
        with _Counter(folder / "sandbox" / "count", house.counted):
            yield house
    finally:
        await asyncio.gather(*(asyncio.to_thread(part.end) for part in house.parts.values()))
        server.stop()


def _part(name: str, module: list[str], common: Mapping[str, str], folder: Path, user: str | None) -> Part:
    own = {"NATS_USER": user, "NATS_PASSWORD": f"of-{user}"} if user else {}
    return Part(name, [sys.executable, "-m", *module], {**common, **own}, folder / f"{name}.log")


def _of_the_house(folder: Path, provider: str, backend: str, idle: timedelta) -> dict[str, str]:
    """Return the settings of the services; the cells' worker is a copy with a counter beside it."""
    shutil.copytree(ROOT / "sandbox", folder / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    os.mkfifo(folder / "sandbox" / "count")
    (folder / "sandbox" / "count").chmod(0o666)
    executor = {"BACKEND": backend, "PLATFORM": folder.name, "IDLE_AFTER": str(idle.total_seconds())}
    executor |= {"SANDBOX_DIR": str(folder / "sandbox"), "MCP": str(folder / "no-mcp.yaml")}
    return {
        "OPENAI_API_KEY": "any",
        "OPENAI_BASE_URL": provider,
        "OPENAI_MODEL": "loopback-1",
    } | {f"TOOL_EXECUTOR_{name}": value for name, value in executor.items()}


class _Counter:
    """The outer end of the pipe out of the cells."""

    def __init__(self, place: Path, counted: Counter[str]) -> None:
        self._end = os.open(place, os.O_RDWR | os.O_NONBLOCK)
        self._counted = counted
        self._rest = b""

    def __enter__(self) -> None:
        asyncio.get_running_loop().add_reader(self._end, self._read)

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._end)
        os.close(self._end)

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._end, 1 << 16)).split(b"\n")
        self._counted.update(line.decode() for line in lines)


def _settings(url: str) -> BusSettings:
    return BusSettings.model_construct(url=url, user="admin", password=SecretStr("of-admin"), credentials=None)


async def _provision(url: str, ack_wait_s: float) -> None:
    async with connect("admin", _settings(url)) as bus:
        await provision(bus.js, StreamSettings(ack_wait=timedelta(seconds=ack_wait_s)))
        for spec in (story.LEAD_SPEC, story.AIDE_SPEC):
            await bus.js.publish(f"$KV.{AGENTS}.{spec.name}", spec.model_dump_json().encode())

"""The processes of the bench: started, asked, weighed and ended."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.nats_server import NatsServer

TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
CONTENDER = "tests.bench.contender"
Process = subprocess.Popen[str]


@dataclass
class Contender:
    """A process that takes orders, the other processes of ours that work for it, and its nats-server."""

    name: str
    process: Process
    others: Sequence[Process] = ()
    server: int | None = None
    """Process id of that nats-server."""
    took_ms: dict[int, list[list[float]]] = field(default_factory=dict[int, list[list[float]]])
    """By concurrency, round by round."""
    wall_s: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    cpu_ms: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    """Per run, of all our processes."""
    nats_ms: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    """Per run, of nats-server."""

    def work(self, *, concurrency: int, seconds: float, keep: bool = True) -> None:
        """Let it work for `seconds` and keep what it took."""
        ours = [process.pid for process in self.others]
        server = [self.server] if self.server else []
        before = cpu_s(ours), cpu_s(server)
        told = self._order(concurrency=concurrency, seconds=seconds)
        runs = len(told["took_s"])
        if not keep:
            return
        self.took_ms.setdefault(concurrency, []).append([1000 * took for took in told["took_s"]])
        self.wall_s.setdefault(concurrency, []).append(told["wall_s"])
        spent = told["cpu_s"] + cpu_s(ours) - before[0]
        self.cpu_ms.setdefault(concurrency, []).append(1000 * spent / runs)
        self.nats_ms.setdefault(concurrency, []).append(1000 * (cpu_s(server) - before[1]) / runs)

    def memory_mb(self) -> float:
        """Return the resident memory of all our processes, in MB."""
        return sum(memory_mb(process.pid) for process in (self.process, *self.others))

    def _order(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(_line(self.process))


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU seconds that the processes have used so far, user and system."""
    used = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) * TICKS_S
    return used


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB (10⁶ bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)


@contextmanager
def program(*arguments: str, environment: Mapping[str, str]) -> Generator[Process]:
    """Run `python -m <arguments>` for as long as the body runs; a contender ends when its orders do."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=dict(os.environ) | dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if arguments[0] != CONTENDER:
            process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def provider(delay_s: float = 0.0) -> Generator[dict[str, str]]:
    """Run the provider, so long before each answer; give the variables by which an OpenAI client finds it."""
    with program("tests.loopback.provider", "--delay", str(delay_s), environment={}) as process:
        yield {"OPENAI_BASE_URL": _line(process).strip(), "OPENAI_API_KEY": "any"}


@contextmanager
def by_hand(name: str, transport: str, environment: Mapping[str, str]) -> Generator[Contender]:
    """(a) Two calls of the `openai` package."""
    with program(CONTENDER, "raw", transport, environment=environment) as process:
        _ready(process)
        yield Contender(name, process)


@contextmanager
def embedded(name: str, folder: Path, environment: Mapping[str, str]) -> Generator[Contender]:
    """(b) The house, the tool and the client in one process, beside a nats-server of its own."""
    with program(CONTENDER, "embedded", str(folder), environment=environment) as process:
        server = _ready(process)
        yield Contender(name, process, server=server)


@contextmanager
def apart(name: str, folder: Path, environment: Mapping[str, str]) -> Generator[Contender]:
    """(c) Each service, the tool and the client in a process of its own; spans are kept as in (b)."""
    with (
        rooms(folder, environment) as house,
        program(CONTENDER, "guest", house.url, environment=house.environment) as process,
    ):
        _ready(process)
        yield Contender(name, process, list(house.processes.values()), house.server)


@dataclass(frozen=True)
class Rooms:
    """A house with each service in a process of its own."""

    url: str
    server: int
    """Process id of its nats-server."""
    environment: Mapping[str, str]
    processes: Mapping[str, Process]
    """By name; `tool` is who serves the tool."""

    @contextmanager
    def replica(self) -> Generator[Process]:
        """Run one more agent service for as long as the body runs."""
        with program("services.agent", environment=self.environment) as process:
            yield process


@contextmanager
def rooms(folder: Path, environment: Mapping[str, str]) -> Generator[Rooms]:
    """Run each service, and the tool, in a process of its own."""
    with _house(folder, environment) as server, ExitStack() as stack:
        quiet = {"NATSCOPE_LOG_LEVEL": "WARNING", "LOG_LEVEL": "WARNING", "NATSCOPE_KEEP_SPANS": "true"}
        known = {**environment, **quiet, "NATS_URL": server.url}
        services = ("memory", "model_gateway", "tool_executor", "agent")
        found = {name: stack.enter_context(program(f"services.{name}", environment=known)) for name in services}
        tool = program("tests.bench.tool", "--nats", server.url, environment=known)
        found["tool"] = stack.enter_context(tool)
        yield Rooms(server.url, server.pid, known, found)


@contextmanager
def _house(folder: Path, environment: Mapping[str, str]) -> Generator[NatsServer]:
    server = NatsServer(folder).start()
    try:
        with program(CONTENDER, "prepare", server.url, environment=environment) as process:
            process.wait(120)
        yield server
    finally:
        server.stop()


def _ready(process: Process) -> int | None:
    return json.loads(_line(process))["server"]


def _line(process: Process) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with {process.wait()}")
    return line

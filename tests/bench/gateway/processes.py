"""The processes of the bench: the provider, the gateway with its nats-server, and the contenders."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.processes import Process, cpu_s
from tests.nats_server import NatsServer

QUIET = {"NATSCOPE_LOG_LEVEL": "WARNING", "LOG_LEVEL": "WARNING"}
MODELS = """
providers:
  bench: {kind: openai, api_key: {env: OPENAI_API_KEY}, base_url: {env: OPENAI_BASE_URL}}
aliases:
  unary: {targets: [{provider: bench, model: unary, price: {input: 0.25, output: 2.0}, context_size: 128000}]}
  stream: {targets: [{provider: bench, model: stream, price: {input: 0.25, output: 2.0}, context_size: 128000}]}
  paced: {targets: [{provider: bench, model: paced, price: {input: 0.25, output: 2.0}, context_size: 128000}]}
budgets:
  - {scope: tenant, usd: 1000000, per: month}
  - {scope: agent, tokens: 1000000000000, per: day}
limits:
  - {scope: provider, requests_per_minute: 100000000, tokens_per_minute: 100000000000, concurrency: 4096}
"""
"""Every account of a call is under a budget or a limit, and none is ever reached."""


@dataclass(frozen=True)
class Round:
    """What a contender took for one kind of work at one concurrency."""

    took_ms: list[float]
    first_ms: list[float]
    per_s: float
    cpu_ms: float
    """Per call, of the contender and the gateway."""
    gateway_ms: float
    """Per call, of the gateway alone."""


@dataclass
class Contender:
    """A process that takes orders, and the gateway that works for it."""

    name: str
    process: Process
    gateway: int | None = None
    """Process id of the gateway."""
    rounds: dict[tuple[str, int], list[Round]] = field(default_factory=dict[tuple[str, int], list[Round]])

    def work(self, work: str, *, concurrency: int, seconds: float, keep: bool = True) -> None:
        """Let it work for `seconds` and keep what it took."""
        ours = [self.gateway] if self.gateway else []
        before = cpu_s(ours)
        told = self._order(work=work, concurrency=concurrency, seconds=seconds)
        gateway_s = cpu_s(ours) - before
        calls = len(told["took_s"])
        found = Round(
            took_ms=[1000 * each for each in told["took_s"]],
            first_ms=[1000 * each for each in told["first_s"]],
            per_s=calls / told["wall_s"],
            cpu_ms=1000 * (told["cpu_s"] + gateway_s) / calls,
            gateway_ms=1000 * gateway_s / calls,
        )
        if keep:
            self.rounds.setdefault((work, concurrency), []).append(found)

    def _order(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(line_of(self.process))


@contextmanager
def program(*arguments: str, environment: Mapping[str, str]) -> Generator[Process]:
    """Run `python -m <arguments>` for as long as the body runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=dict(os.environ) | QUIET | dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def provider() -> Generator[str]:
    """Run the provider and give its base URL."""
    with program("tests.bench.gateway.provider", environment={}) as process:
        yield line_of(process).strip()


@contextmanager
def contender(name: str, kind: str, where: str, *, gateway: int | None = None) -> Generator[Contender]:
    """Run a contender and give it once it is ready."""
    with program("tests.bench.gateway.contender", kind, where, environment={}) as process:
        line_of(process)
        yield Contender(name, process, gateway)


@contextmanager
def gateway(folder: Path, base_url: str) -> Generator[tuple[NatsServer, Process]]:
    """Run a nats-server and the gateway as it is deployed: budgets and limits in force, spans kept."""
    folder.mkdir(parents=True, exist_ok=True)
    models = folder / "models.yaml"
    models.write_text(MODELS)
    server = NatsServer(folder / "nats").start()
    environment = {
        "NATS_URL": server.url,
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "any",
        "MODEL_GATEWAY_MODELS": str(models),
        "NATSCOPE_KEEP_SPANS": "true",
    }
    try:
        with program("services.model_gateway", environment=environment) as process:
            yield server, process
    finally:
        server.stop()


def import_s(module: str, *, times: int) -> float:
    """Return how long a fresh process takes to import `module`, the best of `times`."""
    took: list[float] = []
    code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    for _ in range(times):
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        took.append(float(said.stdout))
    return min(took)


def line_of(process: Process) -> str:
    """Return the next line that a process prints.

    Raises:
        RuntimeError: it has ended.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with {process.wait()}")
    return line

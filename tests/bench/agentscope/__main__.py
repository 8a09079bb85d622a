"""`python -m tests.bench.agentscope`: a durable, traced run of the house beside AgentScope's in its own process.

Both ask the same loopback provider in a process of its own, and have one trivial tool; the house is as `natscope up`
opens it. They take turns in short rounds; medians over the rounds are shown, and nothing is asserted. Then the house is
held to what it promises of many runs (see `promises`); `--only` chooses, and a short form is
`--alone --rounds 1 --seconds 1 --parked 50`.
"""

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.bench import processes
from tests.bench.agentscope import promises
from tests.bench.figures import figures, ratio
from tests.bench.processes import Contender

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".bench" / "agentscope" / "bin" / "python"
PROGRAM = Path(__file__).with_name("agentscope_contender.py")
STEPS = 3
"""Of a run: two model calls with a tool call between them."""


@contextmanager
def agentscope(environment: Mapping[str, str]) -> Generator[Contender]:
    """AgentScope in a process of its own venv."""
    process = subprocess.Popen(
        [str(PYTHON), str(PROGRAM)],
        env=dict(os.environ) | dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        json.loads(process.stdout.readline())
        yield Contender("AgentScope", process)
    finally:
        process.communicate(timeout=30)


def measure(levels: tuple[int, ...], *, rounds: int, seconds: float, alone: bool) -> None:
    """Let them take turns, and print what they took."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="natscope-bench-")))
        known = stack.enter_context(processes.provider())
        known |= {"TOOL_EXECUTOR_PLATFORM": folder.name, "MODEL_GATEWAY_MODELS": "deploy/models.yaml"}
        found = [] if alone else [stack.enter_context(agentscope(known))]
        found.append(stack.enter_context(processes.embedded("natscope", folder / "house", known)))
        for contender in found:
            contender.work(concurrency=8, seconds=seconds, keep=False)
        for _ in range(rounds):
            for level in levels:
                for contender in found:
                    contender.work(concurrency=level, seconds=seconds)
        print(table(found, levels))


def table(found: list[Contender], levels: tuple[int, ...]) -> str:
    """Return a Markdown table; the first contender is what the others are compared with."""
    lines = [
        "| contender | in flight | p50 ms | × p50 | runs/s | × runs/s | CPU ms a step, nats-server's too |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for contender in found:
        for level in levels:
            got = figures(contender, level)
            step_ms = (got.cpu_ms + got.nats_ms) / STEPS
            lines.append(
                f"| {contender.name} | {level} | {got.p50_ms:.2f} | {ratio(contender, found[0], level):.2f} "
                f"| {got.runs_per_s:.0f} | {throughput(contender, found[0], level):.2f} | {step_ms:.2f} |"
            )
    return "\n".join(lines)


def throughput(contender: Contender, other: Contender, level: int) -> float:
    """Return the median over the rounds of runs a second to those of `other` in the same round."""

    def rates(of: Contender) -> list[float]:
        return [len(took) / wall for took, wall in zip(of.took_ms[level], of.wall_s[level], strict=True)]

    return median(ours / theirs for ours, theirs in zip(rates(contender), rates(other), strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.agentscope", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each contender at each level in each round")
    parser.add_argument("--levels", default="1,64", help="runs in flight")
    parser.add_argument("--alone", action="store_true", help="without AgentScope")
    parser.add_argument("--only", default="runs,parked,replicas,neighbours", help="what to measure")
    parser.add_argument("--parked", type=int, default=1000, help="runs that wait at the same time")
    parser.add_argument("--slots", type=int, default=1, help="runs of one agent service where replicas are compared")
    options = parser.parse_args()
    levels = tuple(map(int, options.levels.split(",")))
    wanted, often = options.only.split(","), {"rounds": options.rounds, "seconds": options.seconds}
    if "runs" in wanted:
        measure(levels, alone=options.alone, **often)
    with tempfile.TemporaryDirectory(prefix="natscope-bench-") as folder:
        if "parked" in wanted or "neighbours" in wanted:
            with promises.opened(Path(folder) / "many") as rooms:
                if "parked" in wanted:
                    print(asyncio.run(promises.parked(rooms, options.parked)), flush=True)
                if "neighbours" in wanted:
                    print(asyncio.run(promises.neighbours(rooms, **often)), flush=True)
        if "replicas" in wanted:
            few = {"provider_s": promises.PROVIDER_S, "AGENT_SLOTS": str(options.slots)}
            with promises.opened(Path(folder) / "replicas", **few) as rooms:
                print(asyncio.run(promises.replicas(rooms, slots=options.slots, **often)), flush=True)


if __name__ == "__main__":
    main()

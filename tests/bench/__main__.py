"""`python -m tests.bench`: a natscope run beside the same two model calls made by hand, in interleaved rounds.

`--quick` takes under 40 seconds; the figures of docs/performance.md are those of the long form.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.bench import processes
from tests.bench.figures import table
from tests.bench.processes import Contender, memory_mb

LEVELS = (1, 16, 64)
SILENT = {"OTEL_SDK_DISABLED": "true"}
Open = Callable[[Path, Mapping[str, str]], AbstractContextManager[Contender]]

CONTENDERS: dict[str, Open] = {
    "a": lambda _, known: processes.by_hand("by hand", "", known),
    "A": lambda _, known: processes.by_hand("by hand, aiohttp", "aiohttp", known),
    "b": lambda folder, known: processes.embedded("embedded", folder, known),
    "B": lambda folder, known: processes.embedded("embedded, no telemetry", folder, {**known, **SILENT}),
    "c": lambda folder, known: processes.apart("a process each", folder, known),
}


def measure(which: str, *, rounds: int, seconds: float, levels: tuple[int, ...]) -> None:
    """Run the contenders in turn, round after round, and print what they took."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="natscope-bench-")))
        known = stack.enter_context(processes.provider())
        # Cells of other houses on the same engine are none of ours.
        known |= {"TOOL_EXECUTOR_PLATFORM": folder.name, "MODEL_GATEWAY_MODELS": "deploy/models.yaml"}
        found = [stack.enter_context(CONTENDERS[key](folder / f"house-{key}", known)) for key in which]
        idle = {contender.name: contender.memory_mb() for contender in found}
        servers = {contender.name: memory_mb(contender.server) for contender in found if contender.server}
        for contender in found:
            contender.work(concurrency=8, seconds=seconds, keep=False)
        for _ in range(rounds):
            for level in levels:
                for contender in found:
                    contender.work(concurrency=level, seconds=seconds)
        print(table(found, levels), end="\n\n")
        for contender in found:
            loaded = contender.memory_mb()
            server = f"; its nats-server {servers[contender.name]:.0f} MB" if contender.name in servers else ""
            print(f"memory of {contender.name!r}: {idle[contender.name]:.0f} MB idle, {loaded:.0f} MB after{server}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds, in under 40 seconds")
    parser.add_argument("--rounds", type=int, help="rounds (default 7; quick: 2)")
    parser.add_argument("--seconds", type=float, help="of each contender at each level in each round")
    parser.add_argument("--only", help="a: by hand, A: over aiohttp, b: embedded, B: without telemetry, c: apart")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)), help="runs in flight")
    options = parser.parse_args()
    measure(
        options.only or ("abBc" if options.quick else "aAbBc"),
        rounds=options.rounds or (2 if options.quick else 7),
        seconds=options.seconds or (0.4 if options.quick else 2.0),
        levels=tuple(map(int, options.levels.split(","))),
    )


if __name__ == "__main__":
    main()

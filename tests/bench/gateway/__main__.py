"""`python -m tests.bench.gateway`: a call through the gateway beside the same call made by hand, in interleaved rounds.

`--quick` takes about half a minute; the figures of docs/performance.md are those of the long form.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.gateway import processes, repairs
from tests.bench.gateway.figures import Work, table
from tests.bench.processes import memory_mb

WORKS: tuple[Work, ...] = (("unary", 1), ("unary", 64), ("stream", 1), ("stream", 16), ("paced", 1), ("paced", 100))
QUICK: tuple[Work, ...] = (("unary", 1), ("unary", 16), ("stream", 4), ("paced", 10))
PACKAGE = "services.model_gateway.app"


def measure(works: tuple[Work, ...], *, rounds: int, seconds: float) -> None:
    """Run the contenders in turn, round after round, and print what they took."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="natscope-bench-")))
        base_url = stack.enter_context(processes.provider())
        server, gateway = stack.enter_context(processes.gateway(folder, base_url))
        found = [
            stack.enter_context(processes.contender("openai", "openai", base_url)),
            stack.enter_context(processes.contender("bare aiohttp", "bare", base_url)),
            stack.enter_context(processes.contender("gateway", "gateway", server.url, gateway=gateway.pid)),
        ]
        for contender in found:
            contender.work("unary", concurrency=8, seconds=min(seconds, 1.0), keep=False)
        idle = memory_mb(gateway.pid)
        for _ in range(rounds):
            for work, concurrency in works:
                for contender in found:
                    contender.work(work, concurrency=concurrency, seconds=seconds)
        print(table(found, works), end="\n\n")
        loaded = memory_mb(gateway.pid)
    print(f"memory of the gateway: {idle:.0f} MB after a warm-up, {loaded:.0f} MB at the end")
    print(f"import of {PACKAGE}: {processes.import_s(PACKAGE, times=3):.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds, in about half a minute")
    parser.add_argument("--rounds", type=int, help="rounds (default 5; quick: 2)")
    parser.add_argument("--seconds", type=float, help="of each contender at each kind of work in each round")
    parser.add_argument("--works", help="instead of all: `unary:64,stream:16`")
    parser.add_argument("--cases", type=Path, help="damaged arguments: JSON lines of `class`, `damaged`, `truth`")
    options = parser.parse_args()
    cases = list(repairs.read(options.cases) if options.cases else repairs.made(50 if options.quick else 500))
    if not cases:
        parser.error(f"{options.cases} holds no case")
    works = QUICK if options.quick else WORKS
    if options.works:
        pairs = (each.split(":") for each in options.works.split(","))
        works = tuple((work, int(concurrency)) for work, concurrency in pairs)
    measure(
        works,
        rounds=options.rounds or (2 if options.quick else 5),
        seconds=options.seconds or (0.5 if options.quick else 3.0),
    )
    print("\n" + repairs.table(repairs.tallied(cases)))


if __name__ == "__main__":
    main()

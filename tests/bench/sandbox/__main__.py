"""`python -m tests.bench.sandbox`: programs through NATS and our sandbox, beside AutoGen's executor, in rounds."""

import argparse
import asyncio
import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.bench.sandbox import problems
from tests.bench.sandbox.executor import Executor, Took, executor

TRIVIAL = "print(1)"
AUTOGEN = Path(".bench/autogen/bin/python")
AUTOGEN_IMAGE = "natscope-bench-autogen:dev"
DOCKERFILE = "FROM {image}\nUSER root\nENTRYPOINT []\nRUN [ -e /usr/bin/python ] || ln -s python3 /usr/bin/python\n"
"""AutoGen calls `python`, as root; all else is as in our cells."""


@dataclass
class Rows:
    """Rounds by contender and kind of work."""

    rounds: dict[tuple[str, str], list[Took]] = field(default_factory=dict[tuple[str, str], list[Took]])

    def add(self, contender: str, work: str, took: Took) -> None:
        """Keep a round."""
        self.rounds.setdefault((work, contender), []).append(took)

    def table(self) -> str:
        """Return a Markdown table; each figure is the median over the rounds."""
        lines = ["| work | contender | p50 ms | p99 ms | per s | right | executor's CPU ms |"]
        lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        for (work, contender), rounds in self.rounds.items():
            p50 = median(median(each.took_ms) for each in rounds)
            p99 = median(quantiles(each.took_ms, n=100, method="inclusive")[98] for each in rounds)
            rate = median(len(each.took_ms) / each.wall_s if each.wall_s else 1000 / p50 for each in rounds)
            right, asked = (sum(figures) for figures in zip(*((e.right, len(e.took_ms)) for e in rounds), strict=True))
            cpu = median(1000 * each.cpu_s / len(each.took_ms) for each in rounds)
            told = f"{cpu:.2f}" if cpu else "–"
            lines.append(f"| {work} | {contender} | {p50:.2f} | {p99:.1f} | {rate:.0f} | {right}/{asked} | {told} |")
        return "\n".join(lines)


class Autogen:
    """AutoGen's executor in its own process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.cold_ms = float(self._answer()["cold_ms"])

    def work(self, codes: list[str], concurrency: int) -> Took:
        """Run all `codes`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"codes": codes, "concurrency": concurrency}) + "\n")
        self._process.stdin.flush()
        told = self._answer()
        return Took(told["took_ms"], told["right"], told["wall_s"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def autogen(image: str) -> Generator[Autogen]:
    """AutoGen's executor for as long as the body runs."""
    script = Path(__file__).with_name("autogen_contender.py")
    build = ["docker", "build", "-q", "-t", AUTOGEN_IMAGE, "-"]
    subprocess.run(build, input=DOCKERFILE.format(image=image), text=True, check=True, capture_output=True)
    process = subprocess.Popen(
        [str(AUTOGEN), str(script), AUTOGEN_IMAGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Autogen(process)
    finally:
        process.communicate()


async def one_round(ours: Executor, other: Autogen | None, rows: Rows, options: argparse.Namespace) -> None:
    """Let each contender do each kind of work once."""
    times, codes = options.times, problems.read(options.humaneval)
    if ours.offers_state:
        rows.add("natscope", "stateful, one at a time", await ours.work([TRIVIAL] * times, 1, stateful=True))
    rows.add("natscope", "fresh process, one at a time", await ours.work([TRIVIAL] * times, 1))
    for flight in (4, 16):
        rows.add("natscope", f"trivial, {flight} in flight", await ours.work([TRIVIAL] * times * 2, flight))
    rows.add("natscope", "problems, one at a time", await ours.work(codes, 1))
    rows.add("natscope", "problems, 2 sessions", await ours.work(codes, 2))
    rows.add("natscope", "virgin cell, 5/s", await ours.virgins(5, options.seconds))
    rows.add("natscope", "first call of a session", await ours.cold(5))
    if other is not None:
        rows.add("AutoGen", "fresh process, one at a time", other.work([TRIVIAL] * max(times // 10, 5), 1))
        rows.add("AutoGen", "trivial, 4 in flight", other.work([TRIVIAL] * max(times // 5, 5), 4))
        rows.add("AutoGen", "problems, one at a time", other.work(codes, 1))


async def measure(options: argparse.Namespace) -> None:
    """Warm both up, run the rounds, and print the table."""
    rows = Rows()
    with nullcontext() if options.alone else autogen(options.image) as other:
        async with executor(options.image) as ours:
            for flight in (1, 16):
                await ours.work([TRIVIAL] * 50, flight)
            for _ in range(options.rounds):
                await one_round(ours, other, rows, options)
        print(rows.table())
        if other is not None:
            print(f"\nAutoGen, container and first result: {other.cold_ms:.0f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sandbox", description=main.__doc__)
    parser.add_argument("--image", default="natscope-sandbox:dev", help="of the cells, and of AutoGen's container")
    parser.add_argument("--humaneval", type=Path, help="a HumanEval file; without it a few problems of our own")
    parser.add_argument("--alone", action="store_true", help="without AutoGen")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=300, help="trivial programs in a round")
    parser.add_argument("--seconds", type=float, default=6.0, help="of virgin cells at 5/s in a round")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()

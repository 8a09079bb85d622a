"""Figures from rounds: medians over interleaved rounds, and the table that tells them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from tests.bench.processes import Contender


@dataclass(frozen=True)
class Figures:
    """What one contender took at one concurrency; each figure is the median over the rounds."""

    p50_ms: float
    p99_ms: float
    runs_per_s: float
    cpu_ms: float
    nats_ms: float


def figures(contender: Contender, concurrency: int) -> Figures:
    """Return the figures of a contender at a concurrency."""
    rounds = contender.took_ms[concurrency]
    return Figures(
        p50_ms=median(median(took) for took in rounds),
        p99_ms=median(_p99(took) for took in rounds),
        runs_per_s=median(len(took) / wall for took, wall in zip(rounds, contender.wall_s[concurrency], strict=True)),
        cpu_ms=median(contender.cpu_ms[concurrency]),
        nats_ms=median(contender.nats_ms[concurrency]),
    )


def ratio(contender: Contender, floor: Contender, concurrency: int) -> float:
    """Return the median over the rounds of p50 to the floor's p50 in the same round."""
    pairs = zip(contender.took_ms[concurrency], floor.took_ms[concurrency], strict=True)
    return median(median(took) / median(by_hand) for took, by_hand in pairs)


def table(contenders: Sequence[Contender], levels: Sequence[int]) -> str:
    """Return a Markdown table of all contenders; the first one is the floor that the others are compared with."""
    head = "| contender | in flight | p50 ms | p99 ms | × by hand | runs/s | CPU ms a run | of nats-server |"
    lines = [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for contender in contenders:
        for level in levels:
            found = figures(contender, level)
            lines.append(
                f"| {contender.name} | {level} | {found.p50_ms:.2f} | {found.p99_ms:.1f} "
                f"| {ratio(contender, contenders[0], level):.2f} | {found.runs_per_s:.0f} "
                f"| {found.cpu_ms:.2f} | {found.nats_ms:.2f} |"
            )
    return "\n".join(lines)


def _p99(took: list[float]) -> float:
    return quantiles(took, n=100, method="inclusive")[98] if len(took) > 1 else took[0]

"""Figures from rounds: medians over interleaved rounds, and the tables that tell them."""

from collections.abc import Callable, Sequence
from statistics import median, quantiles

from tests.bench.gateway.processes import Contender, Round

Work = tuple[str, int]
COLUMNS = ("p50 ms", "p99 ms", "first token p50", "p99", "× openai", "calls/s", "CPU ms a call", "of the gateway")


def table(contenders: Sequence[Contender], works: Sequence[Work]) -> str:
    """Return a Markdown table; the first contender is the one that the others are compared with."""
    lines = [
        f"| work | in flight | contender | {' | '.join(COLUMNS)} |",
        "| --- | ---: | --- |" + " ---: |" * len(COLUMNS),
    ]
    for work in works:
        for contender in contenders:
            if work in contender.rounds:
                lines.append(_line(contender, contenders[0], work))
    return "\n".join(lines)


def ratio(contender: Contender, floor: Contender, work: Work) -> float:
    """Return the median over the rounds of p50 to the floor's p50 in the same round."""
    pairs = zip(contender.rounds[work], floor.rounds[work], strict=True)
    return median(median(ours.took_ms) / median(theirs.took_ms) for ours, theirs in pairs)


def _line(contender: Contender, floor: Contender, work: Work) -> str:
    def over(figure: Callable[[Round], float]) -> float:
        return median(figure(each) for each in contender.rounds[work])

    first = ("–", "–")
    if work[0] != "unary":
        first = f"{over(lambda each: median(each.first_ms)):.2f}", f"{over(lambda each: _p99(each.first_ms)):.1f}"
    gateway = f"{over(lambda each: each.gateway_ms):.2f}" if contender.gateway else "–"
    return (
        f"| {work[0]} | {work[1]} | {contender.name} | {over(lambda each: median(each.took_ms)):.2f} "
        f"| {over(lambda each: _p99(each.took_ms)):.1f} | {first[0]} | {first[1]} "
        f"| {ratio(contender, floor, work):.2f} | {over(lambda each: each.per_s):.0f} "
        f"| {over(lambda each: each.cpu_ms):.2f} | {gateway} |"
    )


def _p99(took: list[float]) -> float:
    return quantiles(took, n=100, method="inclusive")[98] if len(took) > 1 else took[0]

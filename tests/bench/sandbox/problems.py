"""Programs to measure with: HumanEval from a file, else a few small problems of our own."""

import json
from pathlib import Path

OWN = [
    f"def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n): a, b = b, a + b\n    return a\n"
    f"assert fibonacci({n}) == {value}"
    for n, value in ((0, 0), (1, 1), (10, 55), (20, 6765))
] + [
    "def primes(n):\n    return [k for k in range(2, n) if all(k % d for d in range(2, k))]\n"
    + f"assert len(primes({n})) == {value}"
    for n, value in ((10, 4), (100, 25), (200, 46), (300, 62))
]


def read(path: Path | None) -> list[str]:
    """Return the programs of a HumanEval file, each with its own solution and check; without a file our own."""
    if path is None:
        return OWN
    problems = [json.loads(line) for line in path.read_text().splitlines() if line]
    return [
        f"{each['prompt']}{each['canonical_solution']}\n{each['test']}\ncheck({each['entry_point']})"
        for each in problems
    ]

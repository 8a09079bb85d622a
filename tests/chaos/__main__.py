"""`python -m tests.chaos`: runs with tools, approvals and asked agents under kill -9 of everything, and a verdict.

Exits 1 when a promise is broken, or when the control shows that the kills were too few to prove anything.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import judge
from tests.chaos.storm import Plan, storm


def main() -> None:
    """Let the storm loose, and judge what is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=12, help="runs under way at a time")
    parser.add_argument("--backend", default="bubblewrap", help="of the cells; programs are counted in bubblewrap's")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), help="of the kills")
    parser.add_argument("--every", default="0.5-3", help="seconds between two kills")
    parser.add_argument("--kills", type=int, help="at most; default: until every run has its outcome")
    parser.add_argument("--keep", type=Path, help="a new folder for the logs; default: one that is removed")
    options = parser.parse_args()
    shortest, _, longest = options.every.partition("-")
    plan = Plan(
        runs=options.runs,
        at_once=options.at_once,
        backend=options.backend,
        seed=options.seed,
        every_s=(float(shortest), float(longest)),
        kills=options.kills,
    )
    print(f"{plan.runs} runs, {plan.at_once} at a time, a kill every {options.every} s, seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="natscope-chaos-") as folder:
        sys.exit(_judged(plan, options.keep or Path(folder)))


def _judged(plan: Plan, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    facts, left = asyncio.run(storm(plan, folder))
    print(judge.table(facts, seconds=time.monotonic() - began))
    wrong = [*judge.broken(facts), *(f"left behind: {each}" for each in left)]
    if not judge.doubles_of_the_control(facts):
        wrong.append("the control was carried out once each time: these kills prove nothing")
    for each in wrong[:50]:
        print(f"  BROKEN {each}")
    print(f"{len(wrong)} promises broken" if wrong else "every promise kept")
    return 1 if wrong else 0


if __name__ == "__main__":
    main()

"""Accuracy and speed of repair: how many damaged arguments come out as they were meant, and in what time."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from services.model_gateway.repair.arguments import Unresolved, repaired
from tests.unit.model_gateway.repair.damage import GROUPS
from tests.unit.model_gateway.repair.objects import objects

CUT = "cut"
"""Names of classes that begin so lack their end: there only a refusal or a part of the truth is right."""


@dataclass(frozen=True)
class Case:
    """A damaged text and what it was before."""

    group: str
    text: str
    meant: object
    schema: dict[str, JsonValue] | None = None


@dataclass
class Tally:
    """What came of the cases of one group."""

    cases: int = 0
    right: int = 0
    refused: int = 0
    took_s: list[float] = field(default_factory=list[float])


def made(count: int) -> Iterator[Case]:
    """Give the cases of the project's own damage on `count` objects."""
    values = objects(seed=1, count=count)
    for group, damages in GROUPS.items():
        for damage in damages.values():
            for value in values:
                if (text := damage(value)) is not None:
                    yield Case(group, text, value)


def read(path: Path) -> Iterator[Case]:
    """Give the cases of a file of JSON lines: `class`, `damaged`, `truth`, and `schema` if there is one."""
    with path.open(encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            row = json.loads(line)
            yield Case(row["class"], row["damaged"], row["truth"], row.get("schema"))


def tallied(cases: Iterable[Case]) -> dict[str, Tally]:
    """Repair all cases and count."""
    tallies: dict[str, Tally] = {}
    for case in cases:
        tally = tallies.setdefault(case.group, Tally())
        tally.cases += 1
        began = time.perf_counter()
        try:
            found: object = repaired(case.text, case.schema).value
        except Unresolved:
            found = None
            tally.refused += 1
        tally.took_s.append(time.perf_counter() - began)
        right = found == case.meant if not case.group.startswith(CUT) else found is None or _is_part(found, case.meant)
        tally.right += right
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    """Return a Markdown table of the tallies and their sum."""
    lines = ["| damage | cases | right | refused | mean µs |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [_line(group, [tally]) for group, tally in tallies.items()]
    whole = [tally for group, tally in tallies.items() if not group.startswith(CUT)]
    return "\n".join([*lines, _line("all that lack nothing", whole)])


def _line(name: str, tallies: Sequence[Tally]) -> str:
    cases = sum(tally.cases for tally in tallies)
    right = sum(tally.right for tally in tallies)
    refused = sum(tally.refused for tally in tallies)
    mean_s = sum(sum(tally.took_s) for tally in tallies) / cases
    return f"| {name} | {cases} | {right / cases:.2%} | {refused} | {1e6 * mean_s:.0f} |"


def _is_part(found: object, whole: object) -> bool:
    """Return whether `found` may be what had arrived of `whole`."""
    if isinstance(found, dict) and isinstance(whole, dict):
        return all(key in whole and _is_part(value, whole[key]) for key, value in found.items())
    if isinstance(found, list) and isinstance(whole, list):
        return len(found) <= len(whole) and all(map(_is_part, found, whole))
    if isinstance(found, str) and isinstance(whole, str):
        return whole.startswith(found)
    return found == whole

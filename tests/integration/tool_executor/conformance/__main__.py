"""Run the suite of all backends and show what each promises: `make sandbox-promises`."""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby

import pytest

from services.tool_executor.bubblewrap_cells import BubblewrapCells
from services.tool_executor.docker_cells import DockerCells
from services.tool_executor.monty_cells import MontyCells

HERE = "tests/integration/tool_executor/conformance"
BACKENDS = {"docker": DockerCells, "bubblewrap": BubblewrapCells, "monty": MontyCells}
LEGEND = (
    "kept: it is so · refused: by a typed error · no: not promised · not run: why is said below · BROKEN: a test failed"
)


@dataclass(frozen=True)
class Promise:
    """One sentence of the suite, in the order of its tests."""

    subject: str
    sentence: str


@dataclass
class Kept:
    """How the test of one promise ended on one backend."""

    passed: bool = False
    failed: bool = False
    skipped: bool = False
    refused: bool = False

    @property
    def word(self) -> str:
        """Return what the table says."""
        if self.failed:
            return "BROKEN"
        if self.refused:
            return "refused"
        return "kept" if self.passed else "not run" if self.skipped else "no"


@dataclass
class Listener:
    """A plugin of pytest that takes down how each test ended."""

    table: dict[Promise, dict[str, Kept]] = field(default_factory=dict[Promise, dict[str, Kept]])
    reasons: set[str] = field(default_factory=set[str])
    _of: dict[str, Kept] = field(default_factory=dict[str, Kept])

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Find the promise and the backend of each test."""
        for item in items:
            if not isinstance(item, pytest.Function) or item.cls is None:
                continue
            params = {name: str(value) for name, value in item.callspec.params.items()}
            backend = params.pop("backend", "") or params.pop("walled")
            sentence = " ".join([_sentence(item.originalname), *params.values()])
            row = self.table.setdefault(Promise(_subject(item.cls.__name__), sentence), defaultdict(Kept))
            self._of[item.nodeid] = row[backend]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down an end."""
        kept = self._of.get(report.nodeid)
        if kept is None or (report.when != "call" and report.passed):
            return
        kept.passed |= report.passed
        kept.failed |= report.failed
        kept.skipped |= report.skipped
        kept.refused |= ("answer", "refused") in report.user_properties
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons.add(report.longrepr[2])


def show(listener: Listener) -> None:
    """Print the table."""
    width = max(len(promise.sentence) for promise in listener.table) + 4
    print("".ljust(width) + "".join(name.ljust(14) for name in BACKENDS))
    for subject, rows in groupby(listener.table, key=lambda promise: promise.subject):
        print(f"\n{subject}")
        for promise in rows:
            words = (listener.table[promise][name].word for name in BACKENDS)
            print(f"  {promise.sentence}".ljust(width) + "".join(word.ljust(14) for word in words))
    print(f"\n{LEGEND}")
    for name, backend in BACKENDS.items():
        for what in backend.does_not_limit:
            print(f"{name} does not limit {what}")
    for reason in sorted(listener.reasons):
        print(f"not run: {reason}")


def _subject(name: str) -> str:
    """Return a class's name as words: `TestANotebook` is `A notebook`."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.removeprefix("Test"))
    return spaced.strip().capitalize()


def _sentence(name: str) -> str:
    return name.removeprefix("test_").replace("_s_", "'s_").replace("_", " ")


def main() -> int:
    """Return 0 if all that is promised is kept."""
    listener = Listener()
    code = pytest.main([HERE, "-q", "--no-header", "--no-summary", "-p", "no:xdist", *sys.argv[1:]], plugins=[listener])
    if listener.table:
        print()
        show(listener)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

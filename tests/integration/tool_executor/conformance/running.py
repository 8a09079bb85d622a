"""Programs in a cell, as the tests of this folder run them."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from services.tool_executor.cells import Cell, Language, Outcome, Program, RunLimits

WALLED = ("docker", "bubblewrap")
"""The backends with a whole Python, a shell and files."""


async def run(cell: Cell, source: str, *, language: Language = "python", **limits: object) -> Outcome:
    """Run a program in a process of its own."""
    return await cell.run(Program(language, source), _limits(limits))


async def tell(cell: Cell, source: str, **limits: object) -> Outcome:
    """Run a program in the lasting interpreter."""
    return await cell.run(Program("python", source, stateful=True), _limits(limits))


def _limits(limits: dict[str, object]) -> RunLimits:
    return RunLimits(**{"wall_clock": timedelta(seconds=60), **limits})  # pyright: ignore[reportArgumentType]


@contextmanager
def refused(record: Callable[[str, object], None], error: type[Exception], match: str) -> Generator[None]:
    """Expect the body to be refused by that error, and tell so."""
    with pytest.raises(error, match=match):
        yield
    record("answer", "refused")

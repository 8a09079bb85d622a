"""What all tests below run on: a clock of their own, so that none hangs on how fast the machine is."""

import asyncio
from collections.abc import Callable

from tests.leaping_loop import LeapingLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loop of every test."""
    return {"leaping": LeapingLoop}

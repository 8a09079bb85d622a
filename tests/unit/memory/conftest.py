"""A memory on logs that are held in memory."""

import pytest

from services.memory.memory import Memory
from tests.unit.memory.fakes import Written


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def memory(written: Written) -> Memory:
    return written.replica()

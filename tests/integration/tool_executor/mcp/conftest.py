"""A house of MCP servers, and proof at the end of each test that nothing of it is left."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback.mcp_house import McpHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[McpHouse]:
    """A house without servers yet; whatever the test does, no process may be left ten seconds later."""
    house = McpHouse(tmp_path)
    yield house
    assert asyncio.run(house.gone()), f"left behind: {house.processes()}"

"""The memory service on a real server, in this process or in its own."""

from collections.abc import AsyncIterator

import pytest

from natscope.bus import Bus, BusSettings, connect
from tests.integration.memory.house import SILENT, Rooms


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A guest's connection."""
    async with connect("guest", BusSettings.model_construct(url=nats_url), SILENT) as bus:
        yield bus


@pytest.fixture
async def rooms(nats_url: str) -> AsyncIterator[Rooms]:
    """One replica of the memory service, and the means to open and close more."""
    rooms = Rooms(BusSettings.model_construct(url=nats_url))
    await rooms.open()
    yield rooms
    await rooms.close()

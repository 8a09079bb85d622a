"""A gateway on a real nats-server that asks a provider on the loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.model_gateway.house import House, opened
from tests.loopback.provider import Provider


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """The provider; it counts what it is asked."""
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def house(nats_url: str, provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """The gateway and a guest who asks it."""
    async with opened(nats_url, provider.url, tmp_path) as house:
        yield house

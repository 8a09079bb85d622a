"""A server under the house's own configuration, where a guest may only do what a client does."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from natscope.bus import BusSettings, connect
from natscope.bus.streams import provision
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.nats_server import NatsServer

CONFIG = Path(__file__).parents[3] / "deploy" / "nats.conf"
USERS = ("ADMIN", "AGENT", "MEMORY", "MODEL_GATEWAY", "TOOL_EXECUTOR", "TOOL_HOST", "TOOL_CALLER")


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[BusSettings]:
    """How the admin reaches a guarded server; whoever takes the address alone is a guest."""
    environment = {"PATH": os.environ["PATH"], "NATS_SYNC_INTERVAL": "10s"}
    environment |= {f"NATS_{user}_PASSWORD": "of-this-test" for user in USERS}
    server = NatsServer(tmp_path / "nats", config=CONFIG, env=environment).start()
    settings = BusSettings.model_construct(url=server.url, user="admin", password=SecretStr("of-this-test"))

    async def _provision() -> None:
        silent = telemetry_for("provision", TelemetrySettings.model_construct(endpoint=None, disabled=True))
        async with connect("provision", settings, silent) as bus:
            await provision(bus.js)

    try:
        asyncio.run(_provision())
        yield settings
    finally:
        server.stop()

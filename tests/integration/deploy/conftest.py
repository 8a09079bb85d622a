"""The house's own NATS configuration on a real server, with streams made by its admin."""

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
USERS = ("admin", "agent", "memory", "model-gateway", "tool-executor", "tool-host", "tool-caller")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server under deploy/nats.conf, provisioned; each user's password is `of-<user>`."""
    passwords = {f"NATS_{user.upper().replace('-', '_')}_PASSWORD": f"of-{user}" for user in USERS}
    environment = {"PATH": os.environ["PATH"], "NATS_SYNC_INTERVAL": "10s", **passwords}
    server = NatsServer(tmp_path_factory.mktemp("nats"), config=CONFIG, env=environment).start()
    settings = BusSettings.model_construct(url=server.url, user="admin", password=SecretStr("of-admin"))

    async def _provision() -> None:
        silent = telemetry_for("provision", TelemetrySettings.model_construct(endpoint=None, disabled=True))
        async with connect("provision", settings, silent) as bus:
            await provision(bus.js)

    try:
        asyncio.run(_provision())
        yield server
    finally:
        server.stop()

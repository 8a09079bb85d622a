"""What every floor may ask for: a real nats-server, bare or provisioned; and how tests are given to workers."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from natscope.bus import BusSettings, connect
from natscope.bus.streams import StreamSettings, provision
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.nats_server import NatsServer

# What a terminal or a CI says of its screen changes what commands print.
for name in ("CI", "COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "LINES", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE"):
    os.environ.pop(name, None)

# No deadline for an example, which a busy machine misses, and the same examples each time.
settings.load_profile("ci")

TOGETHER = ("tests/chaos/test_the_storm.py", "tests/e2e/stack/")
"""Tests that share a house that takes minutes to come up."""


class OneByOne(LoadScopeScheduling):
    """Gives each test to whichever worker is free, but all of a place in `TOGETHER` to the same one, and those first.

    `--dist loadgroup` should do so by mark, but no mark reaches it with pytest 9.2:
    https://github.com/pytest-dev/pytest-xdist/issues/1386
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneByOne | None:
    """Return our scheduler where tests are grouped at all."""
    return OneByOne(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A fresh server without streams."""
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """The address of a fresh server with all streams; a dead worker's task is handed on after two seconds."""

    async def _provision() -> None:
        silent = telemetry_for("provision", TelemetrySettings.model_construct(endpoint=None, disabled=True))
        async with connect("provision", BusSettings.model_construct(url=nats_server.url), silent) as bus:
            await provision(bus.js, StreamSettings.model_validate({"ack_wait": 2}))

    asyncio.run(_provision())
    return nats_server.url

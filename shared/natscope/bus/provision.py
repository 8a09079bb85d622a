"""`python -m natscope.bus.provision`: create or update the streams, then exit."""

import asyncio
import sys

from natscope.bus.connection import BusSettings, connect
from natscope.bus.streams import provision
from natscope.contracts.errors import NatscopeError
from natscope.telemetry import TelemetrySettings, telemetry_for


async def _provision() -> None:
    silent = telemetry_for("provision", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    async with connect("provision", BusSettings(), silent) as bus:
        await provision(bus.js)


def main() -> int:
    """Provision; 0 if everything is there now."""
    try:
        asyncio.run(_provision())
    except NatscopeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write("streams, buckets and consumers are there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

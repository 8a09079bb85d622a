"""`python3 provision.py [folder]`: make the streams, apply a folder of agents, and end. Needs the user `admin`."""

import asyncio
import sys
from pathlib import Path

from natscope.bus.connection import connect
from natscope.bus.streams import provision
from natscope.client.agent_files import read_all
from natscope.client.registry import apply
from natscope.contracts.errors import NatscopeError
from natscope.telemetry import TelemetrySettings, telemetry_for


async def prepare(agents: Path | None) -> None:
    """Return when the streams are there and every agent file in `agents` is applied.

    Raises:
        NatscopeError: NATS does not answer or refuses, or an agent file is wrong; nothing is half applied.
    """
    specs = read_all(agents) if agents else []
    silent = telemetry_for("provision", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    async with connect("provision", telemetry=silent) as bus:
        await provision(bus.js)
        for spec in specs:
            sys.stderr.write(f"agent {spec.name}: {await apply(bus, spec)}\n")


def main() -> int:
    """Returns 0 if everything is there now, 1 (and why) if not."""
    try:
        asyncio.run(prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
    except NatscopeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write("streams, buckets and consumers are there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

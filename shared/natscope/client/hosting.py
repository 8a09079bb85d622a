"""Opening the room of a process that serves tools or hooks, and telling it when it may not."""

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from nats import errors as nats_errors

from natscope.bus.room import Room, open_room
from natscope.bus.settings import BusSettings
from natscope.contracts.errors import BusUnavailable, SpecInvalid
from natscope.telemetry import Telemetry

RIGHTS = "serving tools and hooks takes the NATS user `tool-host`: set NATS_USER and NATS_PASSWORD"


@asynccontextmanager
async def open_host(
    host: str, *, description: str, settings: BusSettings | None, telemetry: Telemetry | None = None
) -> AsyncGenerator[Room]:
    """Open a room for what others serve, for as long as the body runs.

    Raises:
        BusUnavailable: NATS has no streams, or whoever we are there may not serve.
    """
    async with AsyncExitStack() as stack:
        opening = open_room(host, description=description, settings=settings, telemetry=telemetry)
        try:
            room = await stack.enter_async_context(opening)
        except nats_errors.TimeoutError as error:
            raise BusUnavailable(f"host {host!r} could not give a sign of life", remedy=RIGHTS) from error
        yield room


def must_be_let(room: Room) -> None:
    """Return unless the server has refused a subscription, which it says to nobody else.

    Raises:
        SpecInvalid: it has, and which name is concerned.
    """
    said = str(room.bus.nc.last_error)
    found = re.search(r'subscription to "(?:tool\.call|hook\.ask)\.([^"]+)"', said, re.IGNORECASE)
    if found is not None:
        text = f"nobody but the house may serve {found[1]!r} here"
        raise SpecInvalid(text, remedy="give it another name, and see NATS_USER")

"""The doors of the tool executor."""

from nats.aio.msg import Msg

from natscope.bus import Bus, Doors
from natscope.contracts import tool
from services.tool_executor.calls import Calls
from services.tool_executor.offering import Offer
from services.tool_executor.sessions import Sessions


def doors(bus: Bus, calls: Calls, offer: Offer, *, workers: int) -> Doors:
    """Return the doors that are always there: `tool.list`, and calls for this process's cells."""
    found = Doors(bus)
    found.answers(tool.HELD, key=offer.instance, workers=workers)(calls.carry_out_here)

    @found.answers(tool.LIST, queue="")
    async def tools(_: tool.List) -> tool.Listed:
        return offer.listed

    return found


async def listen(bus: Bus, calls: Calls, sessions: Sessions) -> None:
    """Hear from now on which calls are no longer wanted and which sessions are over; every replica does."""

    async def cancelled(message: Msg) -> None:
        calls.cancel(*tool.CANCELLED.keys_in(message.subject))

    async def ended(message: Msg) -> None:
        await sessions.end(*tool.ENDED.keys_in(message.subject))

    await bus.nc.subscribe(tool.CANCELLED.wildcard, cb=cancelled)
    await bus.nc.subscribe(tool.ENDED.wildcard, cb=ended)

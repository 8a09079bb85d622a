"""The doors of the gateway."""

from nats.aio.msg import Msg

from natscope.bus import Bus, Doors
from natscope.contracts import model
from services.model_gateway.gateway import Gateway


def doors(bus: Bus, gateway: Gateway, *, workers: int) -> Doors:
    """Return `model.chat` and `model.list`, answered by `gateway`."""
    doors = Doors(bus)

    @doors.answers(model.CHAT, workers=workers)
    async def chat(ask: model.Chat) -> model.Chatted:
        return await gateway.chat(ask)

    @doors.answers(model.LIST)
    async def models(_: model.List) -> model.Listed:
        return gateway.models()

    return doors


async def listen_for_cancels(bus: Bus, gateway: Gateway) -> None:
    """Hear from now on which answers are no longer wanted; every replica does, and whoever has the request stops."""

    async def cancelled(message: Msg) -> None:
        gateway.cancel(*model.CANCELLED.keys_in(message.subject))

    await bus.nc.subscribe(model.CANCELLED.wildcard, cb=cancelled)

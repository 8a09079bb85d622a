"""The doors of the gateway."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from nats.aio.msg import Msg
from nats.errors import Error

from natscope.bus import Bus, Doors
from natscope.contracts import model
from natscope.contracts.errors import BodyInvalid
from services.model_gateway.gateway import Gateway
from services.model_gateway.keeping import Keeper
from services.model_gateway.repair.fit import fit_of

log = logging.getLogger(__name__)


class Bookkeeper(Protocol):
    """Knows which models there are, and what was used of them."""

    def listed(self) -> model.Listed:
        """Return the aliases that may be asked for."""
        ...

    async def told(self, ask: model.AskUsage) -> model.UsageTold:
        """Return the accounts that are asked for."""
        ...


def doors(bus: Bus, gateway: Gateway, keeper: Keeper, books: Bookkeeper, *, workers: int) -> Doors:
    """Return every door: chats go to `gateway`, what else is made to `keeper`, `books` tells of models and usage."""
    doors = Doors(bus)

    @doors.answers(model.CHAT, workers=workers)
    async def chat(ask: model.Chat) -> model.Chatted:
        return await gateway.chat(ask)

    @doors.answers(model.LIST)
    async def models(_: model.List) -> model.Listed:
        return books.listed()

    @doors.answers(model.USAGE)
    async def usage(ask: model.AskUsage) -> model.UsageTold:
        return await books.told(ask)

    @doors.answers(model.FIT)
    async def fit(ask: model.Fit) -> model.Fitted:
        return model.Fitted(why_not=fit_of(ask.json_schema).why_not(ask.value))

    @doors.answers(model.EMBED, workers=workers)
    async def embed(ask: model.Embed) -> model.Embedded:
        return await keeper.embed(ask)

    @doors.answers(model.SPEAK, workers=workers)
    async def speak(ask: model.Speak) -> model.Spoken:
        return await keeper.speak(ask)

    @doors.answers(model.TRANSCRIBE, workers=workers)
    async def transcribe(ask: model.Transcribe) -> model.Transcribed:
        return await keeper.transcribe(ask)

    @doors.answers(model.DRAW, workers=workers)
    async def draw(ask: model.Draw) -> model.Drawn:
        return await keeper.draw(ask)

    return doors


async def listen_for_cancels(bus: Bus, gateway: Gateway, keeper: Keeper) -> None:
    """Hear from now on which answers are no longer wanted; every replica does, and whoever has the request stops."""

    async def cancelled(message: Msg) -> None:
        (request,) = model.CANCELLED.keys_in(message.subject)
        gateway.cancel(request)
        keeper.cancel(request)

    await bus.nc.subscribe(model.CANCELLED.wildcard, cb=cancelled)


async def listen_for_lessons(bus: Bus, hear: Callable[[model.Learned], Awaitable[None]]) -> None:
    """Hear from now on what any gateway learns of what calls take."""

    async def learned(message: Msg) -> None:
        try:
            await hear(await bus.read(model.LEARNED, message))
        except BodyInvalid as error:
            log.warning("what another gateway learned cannot be read", extra={"reason": error.message})

    await bus.nc.subscribe(model.LEARNED.at(), cb=learned)


def lessons_to(bus: Bus) -> Callable[[model.Learned], Awaitable[None]]:
    """Return how to tell every gateway what was learned; whether they hear it is of no importance to the call."""

    async def tell(learned: model.Learned) -> None:
        try:
            await bus.tell(model.LEARNED, learned)
        except Error as error:
            log.warning("the other gateways do not hear what was learned", extra={"reason": repr(error)})

    return tell

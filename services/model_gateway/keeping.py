"""Makes whatever else is asked for than chats, once for each request id."""

from collections.abc import Callable
from dataclasses import dataclass

from natscope.bus import Bus
from natscope.bus import Ledger as BusLedger
from natscope.bus.instance import Instance
from natscope.bus.streams import REPLIES
from natscope.contracts.model import Draw, Drawn, Embed, Embedded, Speak, Spoken, Transcribe, Transcribed
from services.model_gateway.making import Maker
from services.model_gateway.once import Ledger, answered


@dataclass(frozen=True, slots=True)
class Ledgers:
    """One ledger for each kind of answer."""

    embedded: Ledger[Embedded]
    spoken: Ledger[Spoken]
    transcribed: Ledger[Transcribed]
    drawn: Ledger[Drawn]


def kept_in(bus: Bus, instance: Instance, *, beside: Callable[[], str] | None = None) -> Ledgers:
    """Return the ledgers in the bucket of replies; see `natscope.bus.ledger` for `beside`."""
    return Ledgers(
        embedded=BusLedger(bus, instance, bucket=REPLIES, answer=Embedded, beside=beside),
        spoken=BusLedger(bus, instance, bucket=REPLIES, answer=Spoken, beside=beside),
        transcribed=BusLedger(bus, instance, bucket=REPLIES, answer=Transcribed, beside=beside),
        drawn=BusLedger(bus, instance, bucket=REPLIES, answer=Drawn, beside=beside),
    )


class Keeper:
    """What the doors besides `model.chat` answer."""

    def __init__(self, maker: Maker, ledgers: Ledgers) -> None:
        self._maker = maker
        self._ledgers = ledgers

    async def embed(self, ask: Embed) -> Embedded:
        """Return vectors; see `Maker.embed`."""
        return await answered(self._ledgers.embedded, _id("embed", ask.request_id), ask, lambda: self._maker.embed(ask))

    async def speak(self, ask: Speak) -> Spoken:
        """Return sound; see `Maker.speak`."""
        return await answered(self._ledgers.spoken, _id("speak", ask.request_id), ask, lambda: self._maker.speak(ask))

    async def transcribe(self, ask: Transcribe) -> Transcribed:
        """Return text; see `Maker.transcribe`."""
        return await answered(
            self._ledgers.transcribed, _id("transcribe", ask.request_id), ask, lambda: self._maker.transcribe(ask)
        )

    async def draw(self, ask: Draw) -> Drawn:
        """Return pictures; see `Maker.draw`."""
        return await answered(self._ledgers.drawn, _id("draw", ask.request_id), ask, lambda: self._maker.draw(ask))

    def cancel(self, request_id: str) -> None:
        """Break off a request if it is being answered here."""
        self._ledgers.embedded.cancel(_id("embed", request_id))
        self._ledgers.spoken.cancel(_id("speak", request_id))
        self._ledgers.transcribed.cancel(_id("transcribe", request_id))
        self._ledgers.drawn.cancel(_id("draw", request_id))


def _id(door: str, request_id: str) -> str:
    """Return an id that no request of another door has: `=` is in no request id."""
    return f"{door}={request_id}"

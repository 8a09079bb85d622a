"""Answers each request id once: asked again, the answer is given again and nothing is paid."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from opentelemetry import trace

from natscope.bus import Bus
from natscope.bus import Ledger as BusLedger
from natscope.bus.instance import Instance
from natscope.bus.streams import REPLIES
from natscope.contracts.contract import Contract
from natscope.contracts.errors import Refused
from natscope.contracts.model import Draw, Drawn, Embed, Embedded, Speak, Spoken, Transcribe, Transcribed
from natscope.telemetry import names
from services.model_gateway.making import Maker

AnswerT = TypeVar("AnswerT", Embedded, Spoken, Transcribed, Drawn)


class Ledger(Protocol[AnswerT]):
    """Keeps answers by id; see `natscope.bus.ledger`."""

    async def once(
        self,
        id: str,
        ask: Contract,
        work: Callable[[], Awaitable[AnswerT]],
        *,
        lost: Callable[[], Awaitable[AnswerT]] | None = None,
        ignoring: set[str] | None = None,
    ) -> tuple[AnswerT, bool]:
        """Return the answer, and whether it was kept from before."""
        ...

    def cancel(self, id: str) -> bool:
        """Stop the work under `id` if it runs here."""
        ...


@dataclass(frozen=True, slots=True)
class Ledgers:
    """One ledger for each kind of answer."""

    embedded: Ledger[Embedded]
    spoken: Ledger[Spoken]
    transcribed: Ledger[Transcribed]
    drawn: Ledger[Drawn]


def kept_in(bus: Bus, instance: Instance) -> Ledgers:
    """Return the ledgers in the bucket of replies."""
    return Ledgers(
        embedded=BusLedger(bus, instance, bucket=REPLIES, answer=Embedded),
        spoken=BusLedger(bus, instance, bucket=REPLIES, answer=Spoken),
        transcribed=BusLedger(bus, instance, bucket=REPLIES, answer=Transcribed),
        drawn=BusLedger(bus, instance, bucket=REPLIES, answer=Drawn),
    )


class Keeper:
    """What the doors besides `model.chat` answer."""

    def __init__(self, maker: Maker, ledgers: Ledgers) -> None:
        self._maker = maker
        self._ledgers = ledgers

    async def embed(self, ask: Embed) -> Embedded:
        """Return vectors; see `Maker.embed`."""
        return await _once(self._ledgers.embedded, "embed", ask, lambda: self._maker.embed(ask))

    async def speak(self, ask: Speak) -> Spoken:
        """Return sound; see `Maker.speak`."""
        return await _once(self._ledgers.spoken, "speak", ask, lambda: self._maker.speak(ask))

    async def transcribe(self, ask: Transcribe) -> Transcribed:
        """Return text; see `Maker.transcribe`."""
        return await _once(self._ledgers.transcribed, "transcribe", ask, lambda: self._maker.transcribe(ask))

    async def draw(self, ask: Draw) -> Drawn:
        """Return pictures; see `Maker.draw`."""
        return await _once(self._ledgers.drawn, "draw", ask, lambda: self._maker.draw(ask))

    def cancel(self, request_id: str) -> None:
        """Break off a request if it is being answered here."""
        self._ledgers.embedded.cancel(_id("embed", request_id))
        self._ledgers.spoken.cancel(_id("speak", request_id))
        self._ledgers.transcribed.cancel(_id("transcribe", request_id))
        self._ledgers.drawn.cancel(_id("draw", request_id))


def _id(door: str, request_id: str) -> str:
    """Return an id that no request of another door has: `=` is in no request id."""
    return f"{door}={request_id}"


async def _once(
    ledger: Ledger[AnswerT], door: str, ask: Embed | Speak | Transcribe | Draw, work: Callable[[], Awaitable[AnswerT]]
) -> AnswerT:
    try:
        answer, kept = await ledger.once(_id(door, ask.request_id), ask, work)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Refused(f"request {ask.request_id!r} was cancelled by its asker") from None
    if not kept:
        return answer
    trace.get_current_span().set_attribute(names.REPLAYED, True)
    return answer.model_copy(update={"replayed": True})

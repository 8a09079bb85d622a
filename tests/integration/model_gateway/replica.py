"""One gateway's books on a real nats-server, and a target to ask."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.instance import Instance
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.accounting.books import Books, Patience
from services.model_gateway.accounting.fitting import Need
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.rules import Rules
from services.model_gateway.accounting.store import KvStore, Store


@dataclass(frozen=True)
class Model:
    """A model that is asked."""

    provider: str = "fake"
    model: str = "one"

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


MODEL = Model()
TEN = Need(input_tokens=7, output_tokens=3, least_output_tokens=3, input_nanos=700, nanos_per_output_token=100)
"""A call of ten tokens that costs 1,000 nano-dollars."""


LATE_S = 0.05
"""So long that others read in between."""


class Careless(KvStore):
    """Writes late and without looking at the revision: what compare-and-set is there for."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self._of = bus

    async def write(self, key: str, data: bytes, *, expect: int) -> int:
        del expect
        await asyncio.sleep(LATE_S)
        return (await self._of.inbox.store(f"$KV.usage.{key}", data)).seq


@asynccontextmanager
async def replica(
    url: str, rules: Rules, *, careless: bool = False, patience: Patience | None = None
) -> AsyncGenerator[Books]:
    """Run the books of one gateway, alive by its own signs of life."""
    silent = telemetry_for("books", TelemetrySettings.model_construct(endpoint=None, disabled=True))
    async with connect("books", BusSettings.model_construct(url=url), silent) as bus:
        instance = Instance(bus)
        await instance.start()
        store: Store = Careless(bus) if careless else KvStore(bus)
        books = Books(Office(store, instance.id, instance.lives), rules, patience=patience)
        try:
            yield books
        finally:
            await books.close()
            await instance.stop()

"""Composition root of the memory service."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from natscope.bus import BusSettings, open_room
from natscope.bus.streams import HUBS, SAID
from natscope.contracts import hub, memory
from natscope.telemetry import Telemetry
from services.memory.handlers import doors
from services.memory.hubs import Hubs
from services.memory.jetstream import DirectReader, StreamLog
from services.memory.memory import Memory
from services.memory.sessions import Sessions
from services.memory.settings import Settings


@asynccontextmanager
async def app(
    settings: Settings | None = None, *, bus: BusSettings | None = None, telemetry: Telemetry | None = None
) -> AsyncGenerator[None]:
    """Answer `memory.*` and `hub.*` for as long as the body runs."""
    settings = settings or Settings()
    async with open_room(
        "memory", description="Sessions and hubs: what was said", settings=bus, telemetry=telemetry
    ) as room:
        reader = DirectReader(room.bus)
        await reader.start()
        said = StreamLog(reader, hub.SAID.stream, hub.SAID.head)
        members = StreamLog(reader, f"KV_{HUBS}", f"$KV.{HUBS}")
        logged = StreamLog(reader, memory.LOGGED.stream, memory.LOGGED.head, bucket=SAID)
        sessions = Sessions(logged, remembered_ids=settings.remembered_ids)
        await room.serve(doors(Memory(sessions, Hubs(members, said)), room.bus, workers=settings.workers))
        yield

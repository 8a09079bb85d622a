"""The agent service, put together."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from natscope.bus import BusSettings, open_room
from natscope.telemetry import Telemetry
from services.agent.acting import Actor
from services.agent.casting import Casting
from services.agent.custom.loading import Functions
from services.agent.deferring import Deferred
from services.agent.doing import Hands
from services.agent.fronting import Fronting
from services.agent.handlers import doors, listen
from services.agent.hooks.asking import Hooking
from services.agent.judging import Judges
from services.agent.lining import Line
from services.agent.own_acting import OwnTools
from services.agent.registry import Agents, Tools
from services.agent.running import Runner
from services.agent.scheduling.clock import Clock
from services.agent.scheduling.schedules import Schedules
from services.agent.settings import Settings
from services.agent.skills import Skills
from services.agent.thinking import Thinker
from services.agent.working import Worker


@asynccontextmanager
async def app(
    settings: Settings | None = None, *, bus: BusSettings | None = None, telemetry: Telemetry | None = None
) -> AsyncGenerator[None]:
    """Run the agent service for as long as the body runs."""
    settings = settings or Settings()
    patience = settings.patience.total_seconds()
    async with open_room("agent", description="Runs agents.", settings=bus, telemetry=telemetry) as room:
        agents, tools, skills = Agents(room.bus), Tools(room.bus), Skills(settings.skills)
        casting = Casting(room.bus, agents, tools, skills)
        functions = Functions(settings.functions)
        hands = Hands(
            bus=room.bus,
            thinker=Thinker(room.bus, patience_s=patience),
            actor=Actor(room.bus, OwnTools(room.bus, skills, casting), patience_s=patience),
            functions=functions,
            hooking=Hooking(room.bus, functions),
            judges=Judges(room.bus, agents, patience_s=patience),
            attempts=settings.attempts,
        )
        runner = Runner(hands, casting, instance=room.instance.id, patience_s=patience)
        await agents.start()
        await tools.start()
        worker = Worker(room.bus, runner, Deferred(room.bus), Line(room.bus), settings)
        await listen(runner, worker, room.bus)
        schedules = Schedules(room.bus, agents)
        clock = Clock(room.bus, schedules)
        await room.serve(doors(Fronting(room.bus, agents), schedules, room.bus))
        await worker.start()
        await clock.start()
        try:
            yield
        finally:
            await clock.stop()
            await worker.stop()

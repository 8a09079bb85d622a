"""Casting: what an agent is, and may ever be offered, in the run of a task."""

import logging

from natscope.bus import Bus
from natscope.contracts.agent import AgentSpec
from natscope.contracts.errors import AgentNotFound, SpecInvalid
from natscope.contracts.run import Part
from natscope.contracts.task import Submit
from services.agent.compressing import window_of
from services.agent.own import NAMES, Others, own_specs
from services.agent.registry import Agents, Models, Tools
from services.agent.skills import Skills
from services.agent.state import within
from services.agent.strategies import cast, offered
from services.agent.telling import Teller

log = logging.getLogger(__name__)

TAKE_OVER = ("react", "dialog")
"""Strategies that can go on with a conversation."""


class Casting:
    """Looks up what a run begins with; the run's journal keeps it."""

    def __init__(self, bus: Bus, agents: Agents, tools: Tools, skills: Skills) -> None:
        self._agents = agents
        self._tools = tools
        self._skills = skills
        self._models = Models(bus)

    async def spec(self, name: str, task: Submit) -> AgentSpec:
        """Return the agent of that name as it may act for `task`.

        Raises:
            AgentNotFound: no such agent is applied.
        """
        return cast(within(await self._agents.get(name), task), task)

    async def part(self, spec: AgentSpec, task: Submit, teller: Teller | None = None) -> Part:
        """Return all that a run of the agent may ever be offered; `teller` tells which tools nobody serves."""
        skills = self._skills.listed(list(spec.skills))
        named = [*spec.tools, *(name for group in spec.groups.values() for name in group.tools)]
        wanted = [name for name in named if name not in NAMES]
        tools = await (self._tools.get(wanted, teller.missing) if teller is not None else self._tools.get(wanted))
        asked, heirs = await self._others(spec, spec.agents), await self._others(spec, spec.hands_over_to)
        team = await self._others(spec, spec.team.agents) if spec.team is not None else []
        own = own_specs(spec, skills, Others(asked, heirs, team, seated=task.seat is not None))
        windows = await self._models.windows()
        return Part(
            agent=spec, tools=offered(spec, tools, own, asked), skills=skills, context_size=window_of(spec, windows)
        )

    async def successor(self, name: str, task: Submit) -> Part:
        """Return the part of an agent that takes a conversation over.

        Raises:
            AgentNotFound: no such agent is applied.
            SpecInvalid: it goes about its tasks in a way in which none can be taken over.
        """
        spec = await self.spec(name, task)
        if spec.strategy not in TAKE_OVER:
            raise SpecInvalid(f"the agent {name!r} cannot take a conversation over", remedy="ask it instead")
        return await self.part(spec, task)

    async def _others(self, spec: AgentSpec, names: list[str]) -> list[AgentSpec]:
        """Return the agents of those names; one that is not applied is left out."""
        found: list[AgentSpec] = []
        for name in names:
            try:
                found.append(await self._agents.get(name))
            except AgentNotFound:
                log.warning("an agent names one that is not applied", extra={"agent": spec.name, "other": name})
        return found

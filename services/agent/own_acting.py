"""Carrying out the agent's own tools: they change the run, and tell its team."""

from contextlib import suppress

from pydantic import JsonValue

from natscope.bus import Bus
from natscope.contracts import hub
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import FileBlock, TextBlock, ToolResultBlock, ToolUseBlock, plain
from natscope.contracts.errors import AgentNotFound, HubNotFound, SpecInvalid
from natscope.contracts.message import Message
from natscope.contracts.run import Part
from natscope.contracts.tool import Called, ToolSpec
from services.agent.asking import PATIENCE_S, insist, persist
from services.agent.casting import Casting
from services.agent.handing import hands_over
from services.agent.own import ACTIVE, KEPT, RESET_TOOLS, SKILL, TELL_TEAM, switched
from services.agent.seats import called, voice_of
from services.agent.skills import Skills
from services.agent.state import State, call_id


class Handed(Called):
    """The outcome of a call that has handed the conversation over."""

    successor: Part


class OwnTools:
    """Carries out the agent's own tools."""

    def __init__(self, bus: Bus, skills: Skills, casting: Casting) -> None:
        self._bus = bus
        self._skills = skills
        self._casting = casting

    async def act(self, state: State, call: ToolUseBlock, index: int) -> Called:
        """Return the outcome of a call of one of `NAMES`."""
        metadata: dict[str, JsonValue] = {"index": index}
        try:
            if hands_over(call):
                return await self._hand_over(state, call, metadata)
            if call.name == TELL_TEAM:
                return Called(result=_result(call, await self._tell_team(state, call, index), metadata))
            text, more = await self._act(state.agent, state.started.tools, call)
        except (SpecInvalid, AgentNotFound) as error:
            return Called(result=_result(call, str(error), metadata).model_copy(update={"state": "error"}))
        return Called(result=_result(call, text, metadata | more))

    async def _act(
        self, agent: AgentSpec, tools: list[ToolSpec], call: ToolUseBlock
    ) -> tuple[str, dict[str, JsonValue]]:
        if call.name == RESET_TOOLS:
            active = [name for name in agent.groups if call.input.get(name) is True]
            return switched(agent, tools, active), {ACTIVE: list(active)}
        if call.name == SKILL:
            return await self._read(agent, str(call.input.get("name")))
        return "Done.", {}

    async def _hand_over(self, state: State, call: ToolUseBlock, metadata: dict[str, JsonValue]) -> Handed:
        part = await self._casting.successor(str(call.input.get("agent")), state.started.task)
        text = f"From here on {part.agent.name!r} has the conversation, which {state.agent.name!r} has handed over."
        note = call.input.get("note")
        text = f"{text} {note}" if isinstance(note, str) and note.strip() else text
        return Handed(result=_result(call, text, metadata), successor=part)

    async def _tell_team(self, state: State, call: ToolUseBlock, index: int) -> str:
        message, to, voice = call.input.get("message"), call.input.get("to"), voice_of(state)
        if not isinstance(message, str) or not message.strip() or voice is None:
            raise SpecInvalid("there is nothing to tell", remedy="say it in `message`")
        name, speaker = voice
        id = f"{call_id(state, index)}-told"
        session = await self._called(state, name, str(to)) if to is not None else None
        text = message if to is None else f"[{speaker} to {to} alone]\n{message}"
        said = Message(id=id, name=speaker, role="user", content=plain(text))
        spoken = hub.Said(message=said, session=state.started.task.lane, to=session)
        await persist(lambda: self._bus.record(hub.SAID, spoken, name, message_id=f"{id}@{name}"))
        return "The team is told." if to is None else f"{to} is told."

    async def _called(self, state: State, name: str, to: str) -> str:
        """Return the session of whom the team calls so.

        Raises:
            SpecInvalid: it calls nobody so, or several.
            Unavailable: the memory does not answer.
        """
        asked, members = hub.List(hub=name), list[hub.Member]()
        with suppress(HubNotFound):
            listed = await insist(self._bus, hub.LIST, asked, deadline_s=PATIENCE_S, patience_s=PATIENCE_S)
            members = [member for each in listed.hubs for member in each.members]
        others = called(state, name, members)
        if len(others.get(to, [])) == 1:
            return others[to][0]
        many = "several are called" if to in others else "nobody is called"
        raise SpecInvalid(f"in the team {many} {to!r}", remedy=f"there are: {', '.join(sorted(others))}")

    async def _read(self, agent: AgentSpec, name: str) -> tuple[str, dict[str, JsonValue]]:
        if name not in agent.skills:
            raise SpecInvalid(f"there is no skill {name!r}", remedy=f"there are {', '.join(agent.skills)}")
        text, files = self._skills.read(name)
        kept: list[JsonValue] = []
        for path, data in files.items():
            source = await self._bus.blobs.source(data, "application/octet-stream")
            kept.append(FileBlock(name=f"skills/{name}/{path}", source=source).model_dump(mode="json"))
        if not kept:
            return text, {}
        names = "\n".join(f"- skills/{name}/{path}" for path in files)
        return f"{text}\n\nIts files are in the workspace:\n{names}", {KEPT: kept}


def _result(call: ToolUseBlock, text: str, metadata: dict[str, JsonValue]) -> ToolResultBlock:
    return ToolResultBlock(id=call.id, name=call.name, output=[TextBlock(text=text)], metadata=metadata)

"""Teams as the state machine sees them: who sits where, and what has been heard."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

from natscope.contracts.blocks import TextBlock, ToolUseBlock
from natscope.contracts.hub import Member, Said
from natscope.contracts.message import Message
from natscope.contracts.run import Heard
from natscope.contracts.task import Seat, Submit
from services.agent.delegating import effective, is_name, why_not
from services.agent.own import ASSIGN
from services.agent.state import State, open_calls_of

_HUB = "team-"


def hub_of(task: Submit) -> str:
    """Return where the team speaks that a session's agent leads."""
    return f"{_HUB}{task.lane}"


def session_of(lane: str, agent: str, member: str) -> str:
    """Return the session that a member keeps for the team led in the session `lane`."""
    digest = hashlib.sha256(json.dumps([lane, agent, member]).encode()).hexdigest()
    return f"{member[:24]}-{digest[:32]}"


def seated(state: State, call: ToolUseBlock, body: Submit) -> Submit:
    """Return the task that an assignment is, in the member's session."""
    agent, member = _who(call)
    purpose = state.agent.team.purpose if state.agent.team is not None else ""
    seat = Seat(hub=hub_of(state.started.task), member=member, purpose=purpose)
    session = session_of(state.started.task.lane, agent, member)
    return body.model_copy(update={"session": session, "seat": seat})


def members_of(state: State) -> dict[str, tuple[str, str]]:
    """Return whom the team's hub is for by now: agents and names by session.

    One of each agent, and those that open calls name.
    """
    lane = state.started.task.lane
    team = state.agent.team.agents if state.agent.team is not None else []
    calls = (effective(state, index, call) for index, call in open_calls_of(state) if call.name == ASSIGN)
    named = [*((agent, agent) for agent in team), *(_who(call) for call in calls if why_not(state, call) is None)]
    return {session_of(lane, *who): who for who in named}


def sessions_of(state: State) -> set[str]:
    """Return the sessions of all members that were ever assigned something in this run."""
    lane = state.started.task.lane
    calls = (call for message in state.messages for call in message.tool_uses if call.name == ASSIGN)
    return {session_of(lane, *who) for who in map(_who, calls) if all(map(is_name, who))}


def called(state: State, hub: str, members: list[Member]) -> dict[str, list[str]]:
    """Return the sessions of the others in a team by what they are called; who leads it is called so before others."""
    task = state.started.task
    found: dict[str, list[str]] = {}
    for each in members:
        if each.session != task.lane:
            found.setdefault(each.name or each.agent or each.session, []).append(each.session)
    if task.seat is not None and task.seat.hub == hub:
        found[task.asked_by[-1]] = [hub.removeprefix(_HUB)]
    return found


def hubs_of(state: State) -> Iterator[str]:
    """Give the hubs of the teams that the run belongs to: the one it is a member of, and the one it leads."""
    task = state.started.task
    if task.seat is not None:
        yield task.seat.hub
    if state.agent.team is not None:
        yield hub_of(task)


def voice_of(state: State) -> tuple[str, str] | None:
    """Return the hub in which the agent tells its team something, and under which name; None: it has no team.

    Who leads a team speaks to that one, also if it is a member of another.
    """
    task = state.started.task
    if state.agent.team is not None:
        return hub_of(task), state.agent.name
    return (task.seat.hub, task.seat.member) if task.seat is not None else None


def speaks_in(state: State) -> Iterator[tuple[str, str]]:
    """Give the hubs in which the run's answer is said, and under which name; a leader's team is given no answers."""
    task, said = state.started.task, state.ended.message if state.ended is not None else None
    name = said.name if said is not None else state.agent.name
    for hub in state.started.position.hubs:
        if task.seat is not None and task.seat.hub == hub:
            yield hub, task.seat.member
        elif hub != hub_of(task):
            yield hub, name


def heard_up_to(state: State, hub: str) -> int:
    """Return up to where the run has heard a hub."""
    return max(state.heard_in.get(hub, 0), state.started.position.hubs.get(hub, 0))


def to_be_heard(state: State, hub: str, said: Said) -> Message | None:
    """Return what the run takes in of something that was said in a hub; None: nothing.

    Members hear everything but what they said themselves and what is for another alone; a leader has their answers as
    results, and hears what they tell besides.
    """
    seat, lane, message = state.started.task.seat, state.started.task.lane, said.message
    if said.session == lane or said.to not in (None, lane):
        return None
    if (seat is not None and seat.hub == hub) or said.to is not None:
        return message
    if message.role != "user":
        return None
    speaker = TextBlock(text=f"[{message.name} tells the team]")
    return message.model_copy(update={"content": [speaker, *message.content]})


def taken_in(state: State, entry: Heard) -> State:
    """Return the state once something was heard; what is known is not heard again."""
    known = any(message.id == entry.message.id for message in state.messages)
    messages = state.messages if known else (*state.messages, entry.message)
    return replace(state, messages=messages, heard_in={**state.heard_in, entry.hub: entry.sequence})


def _who(call: ToolUseBlock) -> tuple[str, str]:
    agent = str(call.input.get("agent"))
    return agent, str(call.input.get("member", agent))

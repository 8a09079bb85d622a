"""Handing the conversation over: another agent goes on with the run, and its answer is the task's."""

from dataclasses import replace

from natscope.contracts.blocks import ToolUseBlock
from services.agent.own import HAND_OVER
from services.agent.state import State, active_of

HAND_OVERS = 5
"""How often a conversation may be handed over in one run, back to who had it before included."""


def hands_over(call: ToolUseBlock) -> bool:
    """Return whether `call` hands the conversation over."""
    return call.name == HAND_OVER


def why_not(state: State, call: ToolUseBlock) -> str | None:
    """Return why the conversation cannot be handed over so, in words for the model; None if it can."""
    agent = call.input.get("agent")
    if agent not in state.agent.hands_over_to:
        return f"There is no agent {agent!r} to hand over to. There are: {', '.join(state.agent.hands_over_to)}."
    calls = state.reply.message.tool_uses if state.reply is not None else []
    first = next((each for each in calls if hands_over(each)), call)
    if first.id != call.id:
        return "A conversation is handed over once; another call of this reply does."
    if len(state.handed) >= HAND_OVERS:
        chain = " → ".join([*state.handed, state.agent.name])
        return f"The conversation was handed over {len(state.handed)} times already ({chain}). Answer yourself."
    return None


def taken(state: State) -> State:
    """Return the state once the successor, if there is one, has taken the conversation over.

    Limits, and how much of the past it sees, stay those of whom was asked. Rules that were added for the one before do
    not hold for it.
    """
    if state.successor is None:
        return state
    before, part = state.agent, state.successor
    agent = part.agent.model_copy(update={"limits": before.limits, "recollection": before.recollection})
    cast = {"agent": agent, "tools": part.tools, "skills": part.skills, "context_size": part.context_size}
    return replace(
        state,
        started=state.started.model_copy(update=cast),
        successor=None,
        handed=(*state.handed, before.name),
        active=active_of(agent),
        rules=(),
        output=None,
        fault=None,
        failures={},
    )

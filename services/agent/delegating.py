"""Calls that ask another agent, as the loop sees them."""

import hashlib
import json

from pydantic import TypeAdapter, ValidationError

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.task import MemberName
from services.agent.own import ASK_AGENT, ASSIGN, PLAN
from services.agent.state import State, call_id

_MEMBER = TypeAdapter[str](MemberName)
DEPTH = 5
"""How many agents may ask through each other, an agent that asks itself included."""


def asks_agent(call: ToolUseBlock) -> bool:
    """Return whether `call` asks another agent, a member of its team included."""
    return call.name in (ASK_AGENT, ASSIGN)


def delegates(call: ToolUseBlock) -> bool:
    """Return whether `call` is carried out by tasks of their own, for which the run waits."""
    return call.name in (ASK_AGENT, ASSIGN, PLAN)


def effective(state: State, index: int, call: ToolUseBlock) -> ToolUseBlock:
    """Return `call` with the arguments with which it was approved."""
    decision = state.decisions.get(call_id(state, index))
    if decision is None or decision.arguments is None:
        return call
    return call.model_copy(update={"input": decision.arguments, "raw_input": json.dumps(decision.arguments)})


def why_not(state: State, call: ToolUseBlock) -> str | None:
    """Return why the agent cannot be asked, in words for the model; None if it can."""
    agent, message = call.input.get("agent"), call.input.get("message")
    known = _known(state, call)
    if agent not in known:
        return f"There is no agent {agent!r} to ask. There are: {', '.join(known)}."
    if not isinstance(message, str) or not message.strip():
        return "`message` must say what the agent is asked to do."
    if call.name == ASSIGN and not is_name(call.input.get("member", agent)):
        return "`member` must be a name of lower case letters, digits, `-` and `_`, 63 at most."
    chain = [*state.started.task.asked_by, state.agent.name]
    if len(chain) >= DEPTH:
        return f"{len(chain)} agents ask through each other already ({' → '.join(chain)}). Do it yourself."
    return None


def _known(state: State, call: ToolUseBlock) -> list[str]:
    if call.name != ASSIGN:
        return state.agent.agents
    return state.agent.team.agents if state.agent.team is not None else []


def is_name(value: object) -> bool:
    """Return whether a member of a team may be called so."""
    try:
        _MEMBER.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def child_of(call: str) -> str:
    """Return the id of the task that the call of that id is."""
    return call if len(call) <= 64 else f"c{hashlib.sha256(call.encode()).hexdigest()[:40]}"

"""What the permissions of a run say of its calls: the rules it began with, and those that decisions have added."""

from dataclasses import replace

from natscope.bus import Bus
from natscope.contracts.blocks import ToolUseBlock
from natscope.telemetry import names
from services.agent.hooks.folding import of_question
from services.agent.permissions.deciding import decide
from services.agent.permissions.verdict import Verdict
from services.agent.state import State, call_id


def verdict_on(state: State, index: int, call: ToolUseBlock) -> Verdict:
    """Return the verdict on a call of a tool that the run knows. The same journal gives the same verdict."""
    verdict = by_rules(state, call)
    answer = of_question(state, "permission", call_id(state, index))
    if answer is None:
        return verdict
    behaviour = "deny" if answer.do == "refuse" else answer.verdict or verdict.behaviour
    return replace(verdict, behaviour=behaviour, reason=answer.reason or verdict.reason)


def by_rules(state: State, call: ToolUseBlock) -> Verdict:
    """Return what the agent's rules, and those that decisions have added, say of a call."""
    permissions = state.agent.permissions
    if state.rules:
        permissions = permissions.model_copy(update={"rules": [*permissions.rules, *state.rules]})
    spec = next(spec for spec in state.started.tools if spec.name == call.name)
    return decide(permissions, spec, call)


def is_free(state: State) -> bool:
    """Return whether nothing forbids anything, so that there is no verdict worth telling."""
    agent = state.agent
    return agent.permissions.mode == "bypass" and not agent.permissions.rules and not state.rules and not agent.hooks


def tell_verdict(bus: Bus, call: ToolUseBlock, verdict: Verdict) -> None:
    """Put a verdict that is worth looking at into the trace."""
    attributes = {
        names.TOOL: call.name,
        names.TOOL_CALL_ID: call.id,
        names.PERMISSION: verdict.behaviour,
        names.PERMISSION_REASON: verdict.reason,
        names.PERMISSION_SAFETY: verdict.safety,
    }
    with bus.telemetry.span("permit_tool", attributes=attributes):
        pass

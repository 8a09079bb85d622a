"""Calls that must not be carried out as they are written, and what the model is told of them."""

import json

from natscope.contracts.blocks import ToolUseBlock
from services.agent import handing
from services.agent.delegating import asks_agent, why_not
from services.agent.fault import FAILURES, key
from services.agent.handing import hands_over
from services.agent.own import PLAN, RESET_TOOLS, group_of
from services.agent.planning import refused
from services.agent.state import State


def refuse(state: State, call: ToolUseBlock) -> str | None:
    """Return why `call` must not be carried out, in words for the model; None if it may.

    Calls that the gateway could not repair, and calls that were cut by the token limit, are never carried out.
    """
    if state.reply is not None and state.reply.finish_reason == "length":
        return "The call was cut off by the token limit and was not executed. Write it again, shorter."
    tool = next((tool for tool in state.tools if tool.name == call.name), None)
    group = group_of(state.agent, call.name) if tool is None else None
    if group is not None and any(spec.name == call.name for spec in state.started.tools):
        return f"The tool {call.name!r} is off. Switch its group on first: {RESET_TOOLS} with {group}=true."
    if tool is None:
        known = ", ".join(tool.name for tool in state.tools) or "none"
        return f"There is no tool {call.name!r}. The tools are: {known}."
    why = why_useless(call)
    if why is None and state.fault is not None and key(call) in state.fault.barred:
        return f"The call was not executed: it has failed {FAILURES} times with the same arguments. Do something else."
    if why is None and call.name == PLAN:
        return refused(state, call)
    if why is None and hands_over(call):
        return handing.why_not(state, call)
    if why is None:
        return why_not(state, call) if asks_agent(call) else None
    schema = json.dumps(tool.parameters, ensure_ascii=False)
    return f"The call was not executed: {why}. Write it again; its arguments are one JSON object that fits {schema}"


def why_useless(call: ToolUseBlock) -> str | None:
    """Return why the arguments of `call` are no arguments; None if they are."""
    if call.failure is not None:
        return call.failure.message
    if call.raw_input.strip() and not call.input:
        try:
            parsed: object = json.loads(call.raw_input)
        except ValueError as error:
            return f"the arguments are not valid JSON ({error})"
        if not isinstance(parsed, dict):
            return "the arguments are no JSON object"
    return None

"""The session's list of tasks, as results of the tools that keep it have told of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pydantic import JsonValue, ValidationError

from natscope.contracts.blocks import ToolResultBlock
from natscope.contracts.message import Message
from natscope.contracts.tool import BUILT_IN, OPEN_TASKS, OpenTasks
from services.agent.state import State


def listed(state: State, result: ToolResultBlock) -> State:
    """Return the state that knows what `result` tells of the list; results may come in another order than changes."""
    return _later(state, result.metadata) if result.name in BUILT_IN else state


def recalled(state: State, past: Iterable[Message]) -> State:
    """Return the state that knows what the session's past tells of the list: in results, and with summaries."""
    for message in past:
        state = _later(state, message.metadata)
        for block in message.content:
            state = listed(state, block) if isinstance(block, ToolResultBlock) else state
    return state


def kept(state: State) -> dict[str, JsonValue]:
    """Return what a summary keeps of the list, in its metadata."""
    return {} if state.open_tasks is None else {OPEN_TASKS: state.open_tasks.model_dump()}


def _later(state: State, metadata: Mapping[str, JsonValue]) -> State:
    if OPEN_TASKS not in metadata:
        return state
    try:
        told = OpenTasks.model_validate(metadata[OPEN_TASKS])
    except ValidationError:
        return state
    known = state.open_tasks
    return state if known is not None and known.change >= told.change else replace(state, open_tasks=told)

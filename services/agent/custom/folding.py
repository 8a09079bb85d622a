"""What a run of a function is once something that it asked for is done."""

from dataclasses import replace

from natscope.contracts.message import Message
from natscope.contracts.run import Performed, Steered
from services.agent.hooks.folding import SHAPES
from services.agent.state import State, call_id

ANSWER, OUTPUT = "message", "output"
END = "end"
"""Where a function has ended."""
RUN_LIMIT = "run_limit"
"""In a failure's details: the limit of the agent that was reached."""


def performed(state: State, entry: Performed) -> State:
    """Return the state once `entry` has happened."""
    done = entry.failure is None
    names = hook_names(state, entry.position) if state.hooked else ()
    state = replace(
        state,
        hooked={at: each for at, each in state.hooked.items() if at[1] not in names},
        performed={**state.performed, entry.position: entry},
        step=state.step + (entry.kind == "model" and done),
        tool_calls=state.tool_calls + (entry.kind in ("tool", "ask") and done),
        usage=state.usage + entry.usage,
        cost_usd=state.cost_usd + entry.cost_usd,
        takeovers=(),
    )
    if entry.kind == "heard" and isinstance(entry.value, list):
        heard = [Steered.model_validate(each) for each in entry.value]
        messages = (*state.messages, *(each.message for each in heard))
        return replace(state, messages=messages, heard=max([state.heard, *(each.sequence for each in heard)]))
    if entry.kind == "return" and isinstance(entry.value, dict):
        answer = Message.model_validate(entry.value[ANSWER])
        return replace(state, messages=(*state.messages, answer), output=entry.value[OUTPUT])
    return state


def limit_of(state: State) -> str | None:
    """Return the limit that the function has run into, if it has."""
    failures = (entry.failure for entry in state.performed.values() if entry.failure is not None)
    found = (failure.details.get(RUN_LIMIT) for failure in failures)
    return next((limit for limit in found if isinstance(limit, str)), state.limit)


def hook_names(state: State, position: str) -> tuple[str, str]:
    """Return what a step of the function, as a question and as a call, is called by hooks."""
    return f"c{position}", call_id(replace(state, place=position), 0)


def shapes_of(state: State, position: str) -> int:
    """Return how often hooks have changed what is asked at a step."""
    name, _ = hook_names(state, position)
    return sum(key == name and point in SHAPES for point, key in state.hooked)

"""How hooks shape what the model is asked: the same from the same journal, so that it is paid once."""

from natscope.contracts.hook import Point
from natscope.contracts.model import Chat
from services.agent.hooks.folding import of_question
from services.agent.state import State

_AFTER: frozenset[Point] = frozenset({"after_model_call", "after_reasoning"})


def step_key(state: State, step: int) -> str:
    """Return what `step` is called by hooks: once it was dropped for something else it is another one."""
    return f"{step}.{state.redirects}"


def call_key(state: State, step: int) -> str:
    """Return what one question for `step` is called by hooks: after a summary, or a person's help, it is another."""
    return f"{step}.{state.redirects}.{state.compressions}" + (f".{state.helps}" if state.helps else "")


def hooked_prompt(state: State) -> str | None:
    """Return the system prompt that hooks have given the agent; None: its own."""
    return state.prompt[1] if state.prompt is not None and state.prompt[0] == state.agent.name else None


def hooked_hint(state: State, step: int) -> str | None:
    """Return what hooks have the model told before `step`."""
    answer = of_question(state, "before_reasoning", step_key(state, step))
    return answer.hint if answer is not None else None


def adjusted(state: State, key: str, asked: Chat) -> Chat:
    """Return the question that hooks call `key` as they want it put, but for its messages (see `rewriting`)."""
    answer = of_question(state, "before_model_call", key)
    if answer is None:
        return asked
    changed: dict[str, object] = {}
    if answer.model is not None:
        changed["model"] = answer.model
    if answer.generation is not None:
        changed["generation"] = answer.generation
    if answer.tool_choice is not None:
        changed["tool_choice"] = answer.tool_choice
    if answer.tools is not None:
        changed["tools"] = [spec for spec in asked.tools if spec.name in answer.tools]
    return asked.model_copy(update=changed)


def withholds(state: State) -> bool:
    """Return whether what the model writes is told only when it is whole, as hooks may change it."""
    return any(not _AFTER.isdisjoint(hook.at) for hook in state.agent.hooks)

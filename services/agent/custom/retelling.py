"""What a run has said and done, as one conversation: what its critics read."""

from collections.abc import Iterator, Sequence

from natscope.agents import Reply, Result
from natscope.contracts.message import Message
from natscope.contracts.run import Performed, Steered
from services.agent.custom.folding import ANSWER
from services.agent.state import State


def talk_of(state: State) -> Sequence[Message]:
    """Return the conversation; a function's is made of what it has asked models, tools and agents for, as that came."""
    if not state.performed:
        return state.messages
    return [state.messages[0], *(message for entry in state.performed.values() for message in _said(entry))]


def _said(entry: Performed) -> Iterator[Message]:
    if entry.failure is not None or entry.value is None:
        return
    match entry.kind:
        case "model":
            yield Reply.model_validate(entry.value).message
        case "tool" | "ask":
            result = Result.model_validate(entry.value).block
            yield Message(name=result.name, role="tool", content=[result])
        case "heard" if isinstance(entry.value, list):
            yield from (Steered.model_validate(each).message for each in entry.value)
        case "return" if isinstance(entry.value, dict):
            yield Message.model_validate(entry.value[ANSWER])
        case _:
            return

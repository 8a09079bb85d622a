"""What a run is once its hooks have decided something of it."""

from dataclasses import replace

from natscope.contracts.hook import Answer, Point
from natscope.contracts.message import Message
from natscope.contracts.run import Hooked
from services.agent.objecting import objected
from services.agent.state import State

SHAPES: frozenset[Point] = frozenset(
    {"before_reply", "system_prompt", "before_reasoning", "before_model_call", "before_compression"}
)
"""Points at which a model is asked something else than without hooks."""


def hooked(state: State, entry: Hooked) -> State:
    """Return the state once `entry` has happened."""
    answer = entry.answer
    state = replace(
        state,
        hooked={**state.hooked, (entry.point, entry.key): entry},
        shaped=state.shaped + (entry.point in SHAPES),
    )
    match entry.point:
        case "before_reply" if answer.do == "change" and answer.content is not None:
            asked = state.messages[0].model_copy(update={"content": answer.content})
            return replace(state, messages=(asked, *state.messages[1:]))
        case "system_prompt" if answer.prompt is not None:
            return replace(state, prompt=(state.agent.name, answer.prompt))
        case "after_reply" if answer.do == "change":
            return _answered(state, answer)
        case "after_reply" if answer.do == "again":
            return objected(state, answer.reason)
        case _:
            return state


def _answered(state: State, answer: Answer) -> State:
    """Return the state with another last reply."""
    if answer.output is not None:
        state = replace(state, output=answer.output)
    if answer.content is None:
        return state
    last = state.reply.message if state.reply is not None else state.messages[-1]
    message = last.model_copy(update={"content": answer.content})

    def changed(each: Message) -> Message:
        return message if each.id == message.id else each

    reply = state.reply.model_copy(update={"message": message}) if state.reply is not None else None
    return replace(state, reply=reply, messages=tuple(map(changed, state.messages)))


def of_question(state: State, point: Point, key: str) -> Answer | None:
    """Return what the hooks of a point have decided of it; None: nothing, or there are none."""
    entry = state.hooked.get((point, key)) if state.hooked else None
    return entry.answer if entry is not None else None

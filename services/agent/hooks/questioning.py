"""Asking a model between the hooks that stand around it: around the run, its steps, its questions and its summaries."""

from collections.abc import Callable
from dataclasses import dataclass

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.hook import Answer, Point
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Chatted
from natscope.contracts.run import Compressed
from services.agent.actions import Finish
from services.agent.compressing import covered_by, summary_id, summary_key
from services.agent.hooks.folding import of_question
from services.agent.hooks.shaping import call_key, step_key
from services.agent.hooks.standing import Standing
from services.agent.state import State, request_id

FIRST = "0"
"""What the task is called by hooks."""
_HOOK = "hook"


async def began(hooks: Standing, *, keep: bool = False) -> None:
    """Have the hooks judge the task of a run that begins."""
    state = hooks.state
    if state.reply is None:
        await hooks.asked("before_reply", FIRST, request_id(state, 1), keep=keep, message=state.messages[0])


@dataclass(frozen=True)
class Place:
    """Where a question to a model stands, as hooks know it."""

    id: str
    """Under which it is asked if no hook shapes it any further."""
    prompt: str | None
    """What its prompt is called; None: hooks had their say to it."""
    step: str
    call: str


def place_of(state: State, step: int) -> Place:
    """Return where the question for `step` stands."""
    is_first = state.reply is None or state.reply.message.name != state.agent.name
    prompt = state.agent.name if is_first else None
    return Place(request_id(state, step), prompt, step_key(state, step), call_key(state, step))


async def shaped(hooks: Standing, place: Place, question: Callable[[], Chat]) -> Chatted | None:
    """Have the hooks shape a question, which `question` gives as it is by now; what they reply in the model's place."""
    instead = of_question(hooks.state, "before_reply", FIRST)
    if instead is not None and instead.do == "skip":
        return _reply(hooks, instead)
    if hooks.stands("system_prompt") and place.prompt is not None:
        await hooks.asked("system_prompt", place.prompt, place.id, prompt=question().messages[0].text)
    if hooks.stands("before_reasoning"):
        answer = await hooks.asked("before_reasoning", place.step, place.id, messages=question().messages)
        if answer is not None and answer.do == "skip":
            return _reply(hooks, answer)
    if not hooks.stands("before_model_call"):
        return None
    asked = question()
    more = {"messages": asked.messages, "model": asked.model, "tools": [spec.name for spec in asked.tools]}
    answer = await hooks.asked("before_model_call", place.call, place.id, **more)
    return _reply(hooks, answer) if answer is not None and answer.do == "skip" else None


async def reviewed(hooks: Standing, place: Place, reply: Chatted) -> Chatted:
    """Return a model's reply as the hooks leave it."""
    keys: list[tuple[Point, str]] = [("after_model_call", place.call), ("after_reasoning", place.step)]
    for point, key in keys:
        answer = await hooks.asked(point, key, message=reply.message)
        if answer is not None and answer.content is not None:
            reply = _with(reply, reply.message.model_copy(update={"content": answer.content}))
    return reply


async def had_a_word(hooks: Standing, wanted: Finish) -> bool:
    """Return whether the hooks have something to say to what is to be the run's answer; then it may be another one."""
    state, key = hooks.state, str(hooks.state.step)
    if not hooks.stands("after_reply") or ("after_reply", key) in state.hooked:
        return False
    answer = await hooks.asked("after_reply", key, message=wanted.message, output=state.output)
    return answer is not None


async def opened_summary(hooks: Standing, past: list[Message]) -> None:
    """Have the hooks shape a summary, or give it."""
    state = hooks.state
    if hooks.stands("before_compression"):
        key, messages = summary_key(state), covered_by(state, past)
        await hooks.asked("before_compression", key, summary_id(state), messages=messages)


async def reviewed_summary(hooks: Standing, entry: Compressed) -> Compressed:
    """Return a summary as the hooks leave it."""
    if entry.summary is None:
        return entry
    answer = await hooks.asked("after_compression", summary_key(hooks.state), message=entry.summary)
    if answer is None or answer.content is None:
        return entry
    return entry.model_copy(update={"summary": entry.summary.model_copy(update={"content": answer.content})})


def _reply(hooks: Standing, answer: Answer) -> Chatted:
    message = Message(name=hooks.state.agent.name, role="assistant", content=answer.content or [])
    return _with(Chatted(message=message, finish_reason="stop", provider=_HOOK, model=_HOOK), message)


def _with(reply: Chatted, message: Message) -> Chatted:
    calls = any(isinstance(block, ToolUseBlock) for block in message.content)
    reason = "tool_call" if calls else reply.finish_reason
    reason = "stop" if reason == "tool_call" and not calls else reason
    return reply.model_copy(update={"message": message, "finish_reason": reason})

"""Summaries: what the model is given instead of what was said before, and what a session does with them."""

from collections.abc import Iterable
from dataclasses import replace

from natscope.bus import Bus
from natscope.contracts import model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import (
    ContentBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    plain,
    text_of,
)
from natscope.contracts.errors import NatscopeError, Unavailable
from natscope.contracts.message import Message
from natscope.contracts.run import Compressed
from services.agent.asking import insist
from services.agent.hooks.folding import of_question
from services.agent.mending import mended
from services.agent.open_tasks import kept
from services.agent.state import State
from services.agent.window import BYTES_PER_TOKEN, cut

UPTO = "summary_upto"
"""In a message's metadata: it is a summary of what its session holds up to the message of this id."""
UNKNOWN_WINDOW = 32_768
"""Tokens; AgentScope 2's default of `context_size`."""
_ROOM = 0.7
"""Share of the window that what is to be summarised may take up; the oldest is left out."""

_ASKED = """\
Summarise this conversation between a user and an assistant, so that the assistant can go on from the summary alone.
Leave nothing out that it will need: names, numbers, paths, decisions, what the user wants. Do not answer or go on."""
_FIELDS = {
    "task_overview": "What the user wants, with all constraints, and what success looks like.",
    "current_state": "What has been done, with results, files and their paths.",
    "important_discoveries": "What was learned: facts, limits, decisions and why, what failed and why.",
    "next_steps": "What is left to do, in order.",
    "context_to_preserve": "Preferences, promises and details that must not get lost.",
}
_OUTPUT = model.Output(
    name="summary",
    json_schema={
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in _FIELDS.items()},
        "required": list(_FIELDS),
        "additionalProperties": False,
    },
)
_LOST = "[What was said before is left out here; it was too long, and no summary could be made.]"


def compressed(state: State, entry: Compressed) -> State:
    """Return the state once the model goes on from a summary."""
    return replace(
        state,
        summary=entry.summary or state.summary,
        covered=entry.covers,
        compressions=state.compressions + 1,
        compressed_at=state.step,
        usage=state.usage + entry.usage,
        cost_usd=state.cost_usd + (entry.cost_usd or 0.0),
        takeovers=(),
    )


def summary_key(state: State) -> str:
    """Return what the next summary is called by hooks."""
    return f"c{state.compressions + 1}"


def summary_id(state: State) -> str:
    """Return the id under which the next summary is asked for."""
    return f"{state.started.task.task_id}-{summary_key(state)}" + (f"-k{state.shaped}" if state.shaped else "")


def covered_by(state: State, past: list[Message]) -> list[Message]:
    """Return what the next summary stands for: everything but the latest messages."""
    recent = mended(past) if state.compressions == 0 else []
    before = [state.summary] if state.summary is not None else []
    return [*before, *recent, *state.messages[state.covered : cut(state)]]


async def compress(bus: Bus, state: State, past: list[Message], *, patience_s: float) -> Compressed:
    """Return a summary of everything but the latest messages; asked again after a crash, it is paid once.

    Where none can be made, what it would cover is left out, and an earlier summary stays. One that a hook has given is
    taken as it is.

    Raises:
        Unavailable: the gateway or the provider cannot be reached.
    """
    covers, covered = cut(state), covered_by(state, past)
    upto = covered[-1].id if covered else None
    hooked = of_question(state, "before_compression", summary_key(state))
    if hooked is not None and hooked.do == "skip":
        return Compressed(summary=_message(state, text_of(hooked.content or []), upto), covers=covers, upto=upto)
    try:
        asked = _question(state, covered)
        chatted = await insist(bus, model.CHAT, asked, deadline_s=model.CHAT.deadline_s, patience_s=patience_s)
    except Unavailable:
        raise
    except NatscopeError:
        return Compressed(summary=None, covers=covers, upto=upto)
    fields = chatted.output if isinstance(chatted.output, dict) else {}
    text = "\n\n".join(f"## {name.replace('_', ' ').capitalize()}\n{fields.get(name, '')}" for name in _FIELDS)
    spent = {"usage": chatted.usage, "cost_usd": chatted.cost_usd, "model": chatted.model}
    return Compressed.model_validate({"summary": _message(state, text, upto), "covers": covers, "upto": upto, **spent})


def shortened_talk(state: State, past: list[Message]) -> list[Message]:
    """Return what the model is given of the conversation: all of it, or a summary and the latest messages."""
    if state.compressions == 0:
        return [*mended(past), *state.messages]
    if state.summary is None:
        return [_message(state, _LOST, None), *state.messages[state.covered :]]
    return [state.summary, *state.messages[state.covered :]]


def since_summary(past: list[Message]) -> list[Message]:
    """Return a session's past as it is recalled: from its latest summary on, with the summary first."""
    place = next((place for place in reversed(range(len(past))) if UPTO in past[place].metadata), None)
    if place is None:
        return past
    upto = past[place].metadata[UPTO]
    covered = next((place for place, message in enumerate(past) if message.id == upto), -1)
    return [past[place], *(message for message in past[covered + 1 :] if UPTO not in message.metadata)]


def _message(state: State, text: str, upto: str | None) -> Message:
    return Message(
        id=f"{state.started.task.task_id}-summary-{state.compressions + 1}",
        name="summary",
        role="user",
        content=plain(f"This is what was said before, summarised:\n\n{text}" if upto is not None else text),
        metadata={UPTO: upto, **kept(state)} if upto is not None else {},
        created_at=state.started.at,
    )


def _question(state: State, covered: list[Message]) -> model.Chat:
    agent, task = state.agent, state.started.task
    text = f"<conversation>\n{transcript(state, covered)}\n</conversation>\n\n{_ASKED}"
    hooked = of_question(state, "before_compression", summary_key(state))
    if hooked is not None and hooked.hint:
        text = f"{text}\n{hooked.hint}"
    at = state.started.at
    id = summary_id(state)
    return model.Chat(
        request_id=id,
        model=agent.compression.model or agent.model,
        messages=[Message(id=id, name="user", role="user", content=plain(text), created_at=at)],
        output=_OUTPUT,
        tenant=task.tenant,
        agent=agent.name,
        session=task.lane,
    )


def transcript(state: State, messages: Iterable[Message]) -> str:
    """Return messages as text that leaves room in the window; if there is too much of it, the oldest is left out."""
    size = state.started.context_size or UNKNOWN_WINDOW
    talk = "\n\n".join(filter(None, map(_told, messages))).encode("utf-8", "replace")
    return talk[-int(size * _ROOM * BYTES_PER_TOKEN) :].decode("utf-8", "ignore")


def _told(message: Message) -> str:
    parts = [part for block in message.content if (part := _part(block))]
    return "\n".join([f"[{message.role} {message.name}]", *parts]) if parts else ""


def _part(block: ContentBlock) -> str:
    match block:
        case TextBlock():
            return block.text
        case ThinkingBlock():
            return ""
        case ToolUseBlock():
            return f"(calls {block.name} with {block.raw_input or block.input})"
        case ToolResultBlock():
            return f"({block.name} returns, {block.state}: {text_of(block.output)})"
        case _:
            return f"({block.type})"


def summaries(state: State) -> Iterable[Message]:
    """Return what the session is to keep besides the messages: the latest summary."""
    return [] if state.summary is None else [state.summary]


def window_of(agent: AgentSpec, models: dict[str, int | None]) -> int | None:
    """Return the tokens of the agent's window, if anybody knows."""
    return agent.compression.context_size or models.get(agent.model)

"""How much of the model's window a run takes up, and which of its messages a summary may stand for."""

from collections.abc import Iterable

from natscope.contracts.blocks import (
    AudioBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    VideoBlock,
)
from natscope.contracts.message import Message
from services.agent.state import State

BYTES_PER_TOKEN = 4
MEDIA_TOKENS = 2000
"""AgentScope 2 counts so too: UTF-8 bytes / 4, and 2,000 for each block of media."""


def tokens_of(messages: Iterable[Message]) -> int:
    """Return about how many tokens `messages` have."""
    return sum(_block(block) for message in messages for block in message.content)


def _block(block: object) -> int:
    match block:
        case TextBlock():
            return _text(block.text)
        case ThinkingBlock():
            return _text(block.thinking)
        case ToolUseBlock():
            return _text(block.raw_input or str(block.input)) + _text(block.name)
        case ToolResultBlock():
            return sum(map(_block, block.output))
        case ImageBlock() | AudioBlock() | VideoBlock() | FileBlock():
            return MEDIA_TOKENS
        case _:
            return 0


def _text(text: str) -> int:
    return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1


def is_full(state: State) -> bool:
    """Return whether a summary is to be made before the model is asked again."""
    size = state.started.context_size
    if size is None or state.compressed_at == state.step or not may_compress(state):
        return False
    return _taken(state) >= size * state.agent.compression.at


def share_taken(state: State) -> float | None:
    """Return which share of the window the next prompt takes up; None: nobody knows the window."""
    size = state.started.context_size
    return _taken(state) / size if size else None


def may_compress(state: State) -> bool:
    """Return whether there is anything that a summary could stand for."""
    return cut(state) > state.covered or (state.compressions == 0 and state.started.past_tokens > 0)


def cut(state: State) -> int:
    """Return how many of the run's messages a summary would cover: not the latest, and no call without its result."""
    size = state.started.context_size
    room = size * state.agent.compression.keep if size is not None else 0
    place = len(state.messages) - 1
    while place > state.covered and tokens_of(state.messages[place - 1 :]) <= room:
        place -= 1
    while place > state.covered and state.messages[place].role == "tool":
        place -= 1
    return max(place, state.covered)


def _taken(state: State) -> int:
    """Return about how many tokens the next prompt has; the provider's own count is taken where there is one."""
    if state.reply is not None and state.compressed_at != state.reply.step:
        ids = [message.id for message in state.messages]
        said = ids.index(state.reply.message.id) if state.reply.message.id in ids else -1
        usage = state.reply.usage
        if usage.input_tokens and said >= max(0, state.covered):
            return usage.input_tokens + usage.output_tokens + tokens_of(state.messages[said + 1 :])
    past = state.started.past_tokens if state.compressions == 0 else 0
    before = [state.summary] if state.summary is not None else []
    own = tokens_of([*before, *state.messages[state.covered :]])
    return _text(state.agent.system_prompt) + past + own

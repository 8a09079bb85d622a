"""Mends a conversation that an earlier run left half told, so that any model can go on from it."""

from collections.abc import Iterable, Sequence

from natscope.contracts.blocks import TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.message import Message

LOST = "The run ended before this call came to an end; no outcome is known."


def mended(past: Sequence[Message]) -> list[Message]:
    """Return `past` without a user's blank messages, and with a result of state `unknown` for each call that has none.

    The same past is always mended in the same way.
    """
    lost = _lost(past)
    out: list[Message] = []
    for place, message in enumerate(past):
        if message.role == "user" and not any(map(_says_something, message.content)):
            continue
        out.append(message)
        if place in lost:
            out.append(_results(message, lost[place]))
    return out


def _lost(past: Sequence[Message]) -> dict[int, list[ToolUseBlock]]:
    """Return the calls without a result, by the place of their message."""
    waiting: dict[str, tuple[int, ToolUseBlock]] = {}
    lost: list[tuple[int, ToolUseBlock]] = []
    for place, message in enumerate(past):
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                if block.id in waiting:
                    lost.append(waiting[block.id])
                waiting[block.id] = (place, block)
            elif isinstance(block, ToolResultBlock):
                waiting.pop(block.id, None)
    return _by_place([*lost, *waiting.values()])


def _by_place(lost: Iterable[tuple[int, ToolUseBlock]]) -> dict[int, list[ToolUseBlock]]:
    found: dict[int, list[ToolUseBlock]] = {}
    for place, block in lost:
        found.setdefault(place, []).append(block)
    return found


def _results(message: Message, calls: list[ToolUseBlock]) -> Message:
    return Message(
        id=f"{message.id}-lost",
        name="tools" if len(calls) != 1 else calls[0].name,
        role="tool",
        content=[
            ToolResultBlock(id=call.id, name=call.name, output=[TextBlock(text=LOST)], state="unknown")
            for call in calls
        ],
        created_at=message.created_at,
    )


def _says_something(block: object) -> bool:
    return not isinstance(block, TextBlock) or bool(block.text.strip())

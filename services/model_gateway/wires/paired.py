"""Puts tool results directly behind the calls that they answer, where every provider wants them."""

from natscope.contracts.blocks import ContentBlock, ToolResultBlock
from natscope.contracts.message import Message


def paired(messages: list[Message]) -> list[Message]:
    """Return `messages` with each result moved behind its call; what others said in between comes after it.

    A conversation of several may go on while a tool is at work. Ids may be used again once they are answered.
    """
    if _is_paired(messages):
        return messages
    out: list[Message] = []
    slots: dict[int, list[ContentBlock]] = {}
    open_calls: dict[str, int] = {}
    for message in messages:
        rest: list[ContentBlock] = []
        for block in message.content:
            slot = open_calls.pop(block.id, None) if isinstance(block, ToolResultBlock) else None
            (rest if slot is None else slots[slot]).append(block)
        if rest or not message.content:
            out.append(message if len(rest) == len(message.content) else message.model_copy(update={"content": rest}))
        if uses := message.tool_uses:
            slots[len(out) - 1] = []
            open_calls.update({use.id: len(out) - 1 for use in uses})
    return [each for place, message in enumerate(out) for each in (message, *_results(slots.get(place)))]


def _results(blocks: list[ContentBlock] | None) -> list[Message]:
    if not blocks:
        return []
    first = blocks[0]
    name = first.name if isinstance(first, ToolResultBlock) else "tool"
    return [Message(name=name, role="tool", content=blocks)]


def _is_paired(messages: list[Message]) -> bool:
    """Return whether every result stands in the messages that follow its call without anything between."""
    waiting: set[str] = set()
    for message in messages:
        beside = False
        for block in message.content:
            if not isinstance(block, ToolResultBlock):
                if waiting:
                    return False
                beside = True
            elif beside or block.id not in waiting:
                return False
            else:
                waiting.discard(block.id)
        waiting.update(use.id for use in message.tool_uses)
    return True

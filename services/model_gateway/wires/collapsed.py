"""Tells a talk of more than two in the form that models understand: as one history that names the speakers.

Models know a user and themselves. So what was said is told as lines `name: text` of one user's turn, own words too;
media follow the text. Calls and results, with what was said along with a call, stay turns of their own.
"""

from collections.abc import Iterator
from itertools import groupby

from natscope.contracts.blocks import ContentBlock, MediaBlock, TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from services.model_gateway.wires.paired import paired

HEADING = "# Conversation History\nWhat stands between the <history></history> tags was said so far, by those named."
_BEGIN, _END = "<history>", "</history>"
_HARMLESS = "&lt;/history>"
"""For the end mark in what somebody said."""


def collapsed(ask: Chat) -> Chat:
    """Return `ask` as its form wants it told; with the form `chat` it stays as it is."""
    if ask.form != "multi_agent":
        return ask
    return ask.model_copy(update={"messages": list(_turns(paired(ask.messages))), "form": "chat"})


def _turns(messages: list[Message]) -> Iterator[Message]:
    leading = next((place for place, each in enumerate(messages) if each.role != "system"), len(messages))
    yield from messages[:leading]
    is_first = True
    for is_native, group in groupby(messages[leading:], key=_is_native):
        together = list(group)
        if is_native:
            yield from together
        elif (turn := _history(together, HEADING if is_first else None)) is not None:
            is_first = False
            yield turn


def _is_native(message: Message) -> bool:
    return any(isinstance(block, ToolUseBlock | ToolResultBlock) for block in message.content)


def _history(messages: list[Message], heading: str | None) -> Message | None:
    """Return one user's turn, None if nothing was said."""
    lines: list[str] = []
    shown: list[ContentBlock] = []
    for message in messages:
        words: list[str] = []
        for block in message.content:
            if isinstance(block, TextBlock):
                words.append(block.text.replace(_END, _HARMLESS))
            elif not isinstance(block, ThinkingBlock):
                shown.append(block)
                words.extend([f"[{block.type} {len(shown)}]"] if isinstance(block, MediaBlock) else [])
        if any(words):
            lines.append(f"{message.name}: " + "\n".join(word for word in words if word))
    if not lines:
        return None
    text = "\n".join([*([heading] if heading else []), _BEGIN, *lines, _END])
    last = messages[-1]
    return last.model_copy(update={"name": "user", "role": "user", "content": [TextBlock(text=text), *shown]})

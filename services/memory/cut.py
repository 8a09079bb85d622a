"""What of a conversation is given to a model: the newest that fits, and never half of a tool call."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from natscope.contracts.blocks import (
    AudioBlock,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    VideoBlock,
)
from natscope.contracts.message import Message

MEDIA_TOKENS = 2_000
BYTES_PER_TOKEN = 4


class Piece(NamedTuple):
    """A message and the log it comes from: calls and results belong together within one log only."""

    message: Message
    source: str = ""


def tokens_of(message: Message) -> int:
    """Return about how many tokens a message is: UTF-8 bytes / 4, rounded up, and 2,000 for each media block."""
    size, media = _weigh(message.content)
    return -(-size // BYTES_PER_TOKEN) + MEDIA_TOKENS * media


def cut(pieces: Sequence[Piece], *, last: int | None = None, token_budget: int | None = None) -> list[Message]:
    """Return the newest messages that fit, oldest first.

    Messages are whole. A call and its results are either all there or all left out, also where they stand in several
    messages; a result whose call is nowhere is left out. So there may be fewer than would fit.
    """
    start = _start(pieces, last, token_budget)
    whole = _whole(pieces, start)
    return [piece.message for index, piece in enumerate(pieces) if index in whole]


def _start(pieces: Sequence[Piece], last: int | None, token_budget: int | None) -> int:
    start = 0 if last is None else max(len(pieces) - last, 0)
    if token_budget is None:
        return start
    left = token_budget
    for index in range(len(pieces) - 1, start - 1, -1):
        left -= tokens_of(pieces[index].message)
        if left < 0:
            return index + 1
    return start


def _whole(pieces: Sequence[Piece], start: int) -> set[int]:
    """Return the positions from `start` on whose calls and results are all there."""
    group = _Groups(len(pieces))
    open_calls: dict[tuple[str, str], int] = {}
    broken: set[int] = set()
    for index, piece in enumerate(pieces):
        for block in piece.message.content:
            if isinstance(block, ToolUseBlock):
                open_calls[piece.source, block.id] = index
            elif isinstance(block, ToolResultBlock):
                call = open_calls.get((piece.source, block.id))
                if call is None:
                    broken.add(index)
                else:
                    group.join(call, index)
    gone = {group.of(index) for index in broken} | {group.of(index) for index in range(start)}
    return {index for index in range(start, len(pieces)) if group.of(index) not in gone}


class _Groups:
    """Positions that stay or go together."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def of(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        self._parent[self.of(other)] = self.of(one)


def _weigh(blocks: Iterable[ContentBlock]) -> tuple[int, int]:
    """Return the bytes of the blocks' text and how many media blocks there are."""
    size = media = 0
    for block in blocks:
        if isinstance(block, ImageBlock | AudioBlock | VideoBlock | FileBlock):
            media += 1
        elif isinstance(block, ToolResultBlock):
            more, further = _weigh(block.output)
            size += more + len(block.name.encode())
            media += further
        else:
            size += len(_text(block).encode())
    return size, media


def _text(block: ContentBlock) -> str:
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, ThinkingBlock):
        return block.thinking
    if isinstance(block, ToolUseBlock):
        return block.name + (block.raw_input or json.dumps(block.input, ensure_ascii=False))
    return block.model_dump_json()

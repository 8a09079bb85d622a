"""The memory: sessions and hubs together, asked and answered in the contracts' words."""

import asyncio
import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from natscope.contracts import hub, memory
from natscope.contracts.blocks import ContentBlock, TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.errors import BodyInvalid
from natscope.contracts.memory import Position
from natscope.contracts.message import Message
from services.memory.cut import BYTES_PER_TOKEN, Piece, cut, tokens_of
from services.memory.hubs import Hubs
from services.memory.reading import ALL, Heard, Reading, Wanted
from services.memory.sessions import Sessions, not_found

FIRST_SEARCHED = 256
"""Messages that a search reads at first."""


class _All(NamedTuple):
    """What a session and its hubs hold, in the order in which it was said."""

    pieces: list[Piece]
    unread: int
    position: Position


class Memory:
    """What `memory.*` and `hub.*` answer."""

    def __init__(self, sessions: Sessions, hubs: Hubs) -> None:
        self._sessions = sessions
        self._hubs = hubs

    async def append(self, ask: memory.Append) -> memory.Appended:
        """Add messages, once each."""
        added, last = await self._sessions.append(ask.session, ask.messages, fresh=ask.fresh)
        return memory.Appended(added=added, position=Position(session=last))

    async def recall(self, ask: memory.Recall) -> memory.Recalled:
        """Give the latest messages; a session that does not exist has none."""
        said = await self._said(ask.session, _wanted(ask.last, ask.token_budget), upto=ask.upto)
        messages = cut(said.pieces, last=ask.last, token_budget=ask.token_budget)
        dropped = said.unread + len(said.pieces) - len(messages)
        return memory.Recalled(messages=messages, position=said.position, dropped=dropped)

    async def search(self, ask: memory.Search) -> memory.Found:
        """Give the newest messages that hold all the words, whatever their case.

        Raises:
            BodyInvalid: there is no word in the query.
        """
        words = ask.query.casefold().split()
        if not words:
            raise BodyInvalid("query: there is no word in it", remedy="name at least one word")

        def enough(heard: Sequence[Heard]) -> bool:
            return sum(_holds(one.message, words) for one in heard) >= ask.limit

        said = await self._said(ask.session, Wanted(enough, messages=FIRST_SEARCHED))
        found = [piece.message for piece in reversed(said.pieces) if _holds(piece.message, words)]
        return memory.Found(messages=found[: ask.limit])

    async def clear(self, ask: memory.Clear) -> memory.Cleared:
        """Forget a session and its places in hubs.

        Raises:
            SessionNotFound: it has neither.
        """
        places = await self._hubs.forget(ask.session)
        removed = await self._sessions.forget(ask.session)
        if not places and not removed:
            raise not_found(ask.session)
        return memory.Cleared(removed=removed)

    async def export(self, ask: memory.Export) -> memory.Session:
        """Give a session's own messages."""
        return memory.Session(session=ask.session, messages=await self._sessions.everything(ask.session))

    async def take_in(self, ask: memory.Import) -> memory.Appended:
        """Write an exported session; messages that are there stay as they are."""
        added, last = await self._sessions.append(ask.session or ask.document.session, ask.document.messages)
        return memory.Appended(added=added, position=Position(session=last))

    async def join(self, ask: hub.Join) -> hub.Joined:
        """Let a session hear a hub from now on."""
        return hub.Joined(hub=ask.hub, member=await self._hubs.join(ask))

    async def leave(self, ask: hub.Leave) -> hub.Left:
        """Let a session hear a hub no longer."""
        return hub.Left(hub=ask.hub, was_member=await self._hubs.leave(ask.hub, ask.session))

    async def hubs(self, ask: hub.List) -> hub.Listed:
        """Name hubs and their members."""
        return hub.Listed(hubs=await self._hubs.listed(session=ask.session, hub=ask.hub))

    async def _said(self, session: str, wanted: Wanted, *, upto: Position | None = None) -> _All:
        """Read the session and its hubs at the same time; where it is in none, that costs nothing more."""
        own, places = await asyncio.gather(
            self._sessions.newest(session, wanted, upto=upto.session if upto else None),
            self._hubs.of(session),
        )
        if upto is not None:
            places = {name: place for name, place in places.items() if name in upto.hubs}
        readings = await asyncio.gather(
            *(
                self._hubs.newest(name, place, wanted, upto=upto.hubs[name] if upto else None)
                for name, place in places.items()
            )
        )
        heard = dict(zip(places, readings, strict=True))
        position = upto or Position(session=own.last, hubs={name: reading.last for name, reading in heard.items()})
        unread = own.unread + sum(reading.unread for reading in readings)
        return _All(list(_merged(own, heard)), unread, position)


def _merged(own: Reading, heard: dict[str, Reading]) -> Iterator[Piece]:
    """Give everything by server time, each message id once; a log's own order stays as it is."""
    ids = {one.message.id for one in own.heard}
    logs = [list(_timed("", own)), *(list(_timed(name, reading)) for name, reading in heard.items())]
    for _, source, message in heapq.merge(*logs, key=lambda one: one[0]):
        if source and message.id in ids:
            continue
        ids.add(message.id)
        yield Piece(message, source)


def _timed(source: str, reading: Reading) -> Iterator[tuple[int, str, Message]]:
    at = 0
    for one in reading.heard:
        at = max(at, one.at_ns)
        yield at, source, one.message


def _wanted(last: int | None, token_budget: int | None) -> Wanted:
    if last is None and token_budget is None:
        return ALL

    def enough(heard: Sequence[Heard]) -> bool:
        if last is not None and len(heard) >= last:
            return True
        return token_budget is not None and sum(tokens_of(one.message) for one in heard) > token_budget

    return Wanted(
        enough, messages=last, size_bytes=None if token_budget is None else token_budget * BYTES_PER_TOKEN * 2
    )


def _holds(message: Message, words: Sequence[str]) -> bool:
    text = "\n".join(_texts(message.content)).casefold()
    return all(word in text for word in words)


def _texts(blocks: Sequence[ContentBlock]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, TextBlock):
            yield block.text
        elif isinstance(block, ToolUseBlock):
            yield f"{block.name} {block.raw_input or block.input}"
        elif isinstance(block, ToolResultBlock):
            yield from _texts(block.output)

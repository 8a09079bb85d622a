"""Hubs, for guests: who is in them, what was said, and a word of one's own."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.client import looking
from natscope.client.following import follow
from natscope.contracts import hub
from natscope.contracts.errors import BodyInvalid
from natscope.contracts.hub import Said
from natscope.contracts.message import Message

GUEST = "guest"
"""Who speaks when a hub is spoken into by hand (`nats pub hub.said.<hub> 'hello'`)."""

_STREAM = hub.SAID.stream or ""


@dataclass(frozen=True)
class Utterance:
    """What was said, where it was said, and where it stands in the log of all hubs."""

    sequence: int
    hub: str
    said: Said


@dataclass(frozen=True)
class Hub:
    """One hub, by its name."""

    bus: Bus
    name: str

    async def join(self, session: str, *, agent: str | None = None) -> hub.Member:
        """Let `session` hear this hub, and be heard in it, from now on. Joining twice changes nothing."""
        return (await self.bus.ask(hub.JOIN, hub.Join(hub=self.name, session=session, agent=agent))).member

    async def leave(self, session: str) -> bool:
        """Let `session` no longer hear this hub; return whether it was a member."""
        return (await self.bus.ask(hub.LEAVE, hub.Leave(hub=self.name, session=session))).was_member

    async def say(self, text: str, *, name: str = "user", session: str | None = None) -> int:
        """Say something that every member hears before it speaks next; return where it stands in the log."""
        message = Message.model_validate({"name": name, "role": "user", "content": text})
        body = hub.Said(message=message, session=session)
        return await self.bus.record(hub.SAID, body, self.name, message_id=message.id)

    async def listen(self, *, after: int | None = None) -> AsyncGenerator[Utterance]:
        """Give what is said from now on, or behind sequence `after`; it never ends by itself."""
        async with aclosing(listen(self.bus, self.name, after=after)) as heard:
            async for utterance in heard:
                yield utterance


async def listen(bus: Bus, name: str | None = None, *, after: int | None = None) -> AsyncGenerator[Utterance]:
    """Give what is said in the hub `name`, or in all of them, from now on or behind sequence `after`."""
    subject = hub.SAID.at(name) if name else hub.SAID.wildcard
    if after is None:
        newest = await looking.last(bus, _STREAM, hub.SAID.wildcard)
        after = looking.sequence_of(newest) if newest else 0
    async with aclosing(follow(bus, _STREAM, subject, after=after)) as kept:
        async for item in kept:
            if item is not None:
                yield Utterance(
                    item.sequence, hub.SAID.keys_in(item.message.subject)[0], await _said(bus, item.message)
                )


async def _said(bus: Bus, message: Msg) -> Said:
    """Return what was said; text that somebody published by hand is a message of a guest."""
    try:
        return await bus.read(hub.SAID, message)
    except BodyInvalid:
        text = message.data.decode(errors="replace").strip()
        return Said(message=Message.model_validate({"name": GUEST, "role": "user", "content": text}))


async def hubs(bus: Bus, *, session: str | None = None) -> list[hub.Hub]:
    """Return all hubs and their members, or those that `session` is in."""
    return (await bus.ask(hub.LIST, hub.List(session=session))).hubs

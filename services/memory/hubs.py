"""Hubs: who hears whom, from when on, and what was said."""

import logging
from datetime import UTC, datetime

from pydantic import Field, ValidationError

from natscope.contracts.blocks import TextBlock, ThinkingBlock
from natscope.contracts.contract import Contract
from natscope.contracts.errors import HubNotFound, Overloaded
from natscope.contracts.hub import SAID, Hub, Join, Member, Said
from natscope.contracts.message import Message
from services.memory.log import Entry, Log, Moved, pages
from services.memory.reading import Heard, Reading, Wanted, read_back

log = logging.getLogger(__name__)

GUEST = "guest"
"""Who speaks when a hub is spoken into by hand."""
ATTEMPTS = 20


class Span(Contract):
    """A stretch of a hub's log that a member hears: behind `after`, up to `upto`."""

    after: int
    upto: int | None = None
    """None as long as it is a member."""


class Membership(Contract):
    """One session in one hub. What it heard before it left stays heard."""

    session: str
    agent: str | None = None
    name: str | None = None
    spans: list[Span] = Field(default_factory=list[Span])

    @property
    def active(self) -> bool:
        """Whether it hears what is said from now on."""
        return bool(self.spans) and self.spans[-1].upto is None

    @property
    def member(self) -> Member:
        """It as the contract shows it."""
        return Member(session=self.session, agent=self.agent, name=self.name, cursor=self.spans[-1].after)

    def hears(self, sequence: int) -> bool:
        """Return whether it was a member when that was said."""
        return any(span.after < sequence and (span.upto is None or sequence <= span.upto) for span in self.spans)


class Hubs:
    """Members, kept by session and hub, and what was said."""

    def __init__(self, members: Log, said: Log) -> None:
        self._members = members
        self._said = said

    async def join(self, ask: Join) -> Member:
        """Let a session hear a hub from now on; joining again changes nothing."""
        for _ in range(ATTEMPTS):
            found, revision = await self._find(ask.hub, ask.session)
            if found.active:
                return found.member
            span = Span(after=await self._said.end())
            joined = Membership(session=ask.session, agent=ask.agent, name=ask.name, spans=[*found.spans, span])
            if await self._keep(ask.hub, joined, revision):
                return joined.member
        raise _contested(ask.hub)

    async def leave(self, hub: str, session: str) -> bool:
        """Let `session` hear no more than it has; return whether it was a member.

        Raises:
            HubNotFound: nobody ever joined the hub.
        """
        for _ in range(ATTEMPTS):
            found, revision = await self._find(hub, session)
            if not found.active:
                if not revision and not (await self._members.page(f"*.{hub}", limit=1)).entries:
                    raise _not_found(hub)
                return False
            ended = found.spans[-1].model_copy(update={"upto": await self._said.end()})
            left = found.model_copy(update={"spans": [*found.spans[:-1], ended]})
            if await self._keep(hub, left, revision):
                return True
        raise _contested(hub)

    async def listed(self, *, session: str | None = None, hub: str | None = None) -> list[Hub]:
        """Return the hubs that have members, by name: all, those `session` is in, or `hub`.

        Raises:
            HubNotFound: `hub` has no members.
        """
        found: dict[str, list[Member]] = {}
        async for page in pages(self._members, f"*.{hub or '*'}"):
            for entry in page.entries:
                membership = _membership(entry)
                if membership is not None and membership.active:
                    found.setdefault(entry.key.partition(".")[2], []).append(membership.member)
        if hub is not None and not found:
            raise _not_found(hub)
        return [
            Hub(hub=name, members=members)
            for name, members in sorted(found.items())
            if session is None or any(member.session == session for member in members)
        ]

    async def of(self, session: str) -> dict[str, Membership]:
        """Return where `session` is or was a member, by hub."""
        found: dict[str, Membership] = {}
        async for page in pages(self._members, f"{session}.*"):
            for entry in page.entries:
                membership = _membership(entry)
                if membership is not None and membership.spans:
                    found[entry.key.partition(".")[2]] = membership
        return found

    async def newest(self, hub: str, membership: Membership, wanted: Wanted, *, upto: int | None = None) -> Reading:
        """Return what the member heard last in the hub: not what it said itself, or was said to another alone."""
        first, end = membership.spans[0].after, membership.spans[-1].upto
        if end is not None:
            upto = end if upto is None else min(upto, end)

        def parse(entry: Entry) -> list[Heard]:
            said = _said(entry, hub) if membership.hears(entry.sequence) else None
            if said is None or said.session == membership.session or said.to not in (None, membership.session):
                return []
            return [Heard(message, entry.at_ns) for message in _aloud(said.message)]

        reading = await read_back(self._said, hub, parse, wanted, after=first, upto=upto)
        return reading._replace(last=max(reading.last, first))

    async def forget(self, session: str) -> int:
        """Take `session` out of every hub, with what it heard there; return how many those were."""
        return await self._members.forget(f"{session}.*")

    async def _find(self, hub: str, session: str) -> tuple[Membership, int]:
        entries = (await self._members.page(f"{session}.{hub}")).entries
        if not entries:
            return Membership(session=session), 0
        return _membership(entries[-1]) or Membership(session=session), entries[-1].sequence

    async def _keep(self, hub: str, membership: Membership, revision: int) -> bool:
        try:
            await self._members.add(
                f"{membership.session}.{hub}", membership.model_dump_json().encode(), expect=revision
            )
        except Moved:
            return False
        return True


def _membership(entry: Entry) -> Membership | None:
    if not entry.data:
        return None
    try:
        return Membership.model_validate_json(entry.data)
    except ValidationError:
        log.warning("a membership cannot be read", extra={"key": entry.key})
        return None


def _said(entry: Entry, hub: str) -> Said | None:
    """Return what was said. Whatever is not written as the contract says is a guest's plain text."""
    try:
        return SAID.adapter.validate_json(entry.data)
    except ValidationError:
        text = entry.data.decode(errors="replace").strip()
    if not text:
        return None
    message = Message(
        id=f"{hub}-{entry.sequence}",
        name=GUEST,
        role="user",
        content=[TextBlock(text=text)],
        created_at=datetime.fromtimestamp(entry.at_ns / 1e9, UTC),
    )
    return Said(message=message)


def _aloud(message: Message) -> list[Message]:
    """Return the message without its thoughts; nothing if it has nothing else."""
    content = [block for block in message.content if not isinstance(block, ThinkingBlock)]
    if len(content) == len(message.content):
        return [message]
    return [message.model_copy(update={"content": content})] if content else []


def _contested(hub: str) -> Overloaded:
    return Overloaded(f"hub {hub!r} is joined and left by too many at once", remedy="try again later")


def _not_found(hub: str) -> HubNotFound:
    return HubNotFound(f"there is no hub {hub!r}", remedy="a hub begins with its first member: hub.join")

"""Hubs: agents that hear each other."""

from pydantic import Field

from natscope.contracts.contract import Contract, Token
from natscope.contracts.door import Command, Event
from natscope.contracts.message import Message


class Said(Contract):
    """One message that everybody in the hub hears, or one member. It never triggers a reply by itself."""

    message: Message
    session: str | None = None
    """The member that spoke; it does not hear itself. None if the speaker is no member."""
    to: str | None = None
    """The session that alone hears it; None: all. It is kept from the others' models, not from who listens to NATS."""


class Join(Contract):
    """Let a session hear a hub, and be heard in it, from now on. Joining twice changes nothing."""

    hub: Token
    session: Token
    agent: str | None = None
    """Who speaks for the session, for the list."""
    name: str | None = None
    """What it is called in the hub, if that is not the agent's name."""


class Member(Contract):
    """One listener."""

    session: Token
    agent: str | None = None
    name: str | None = None
    """What it is called in the hub, if that is not the agent's name."""
    cursor: int
    """Stream sequence of the hub's log at the time of joining; what came later is heard."""


class Joined(Contract):
    """The member as it is now kept."""

    hub: Token
    member: Member


class Leave(Contract):
    """Let a session no longer hear a hub. Leaving a hub one is not in changes nothing."""

    hub: Token
    session: Token


class Left(Contract):
    """Whether it was a member."""

    hub: Token
    was_member: bool


class List(Contract):
    """Ask for the hubs that have members: all, those that a session is in, or one."""

    session: Token | None = None
    hub: Token | None = None


class Hub(Contract):
    """A hub and who is in it."""

    hub: Token
    members: list[Member] = Field(default_factory=list[Member])


class Listed(Contract):
    """The hubs by name."""

    hubs: list[Hub]


SAID = Event[Said](
    template="hub.said.{hub}",
    summary="Somebody said something in a hub.",
    room="agent",
    body=Said,
    stream="HUB",
)
JOIN = Command(
    template="hub.join", summary="Hear and be heard in a hub.", room="memory", ask=Join, answer=Joined, deadline_s=5
)
LEAVE = Command(
    template="hub.leave", summary="Hear a hub no longer.", room="memory", ask=Leave, answer=Left, deadline_s=5
)
LIST = Command(
    template="hub.list", summary="Name hubs and their members.", room="memory", ask=List, answer=Listed, deadline_s=5
)

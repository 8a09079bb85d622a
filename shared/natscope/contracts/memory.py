"""What is remembered of a session."""

from typing import Annotated

from pydantic import Field

from natscope.contracts.contract import Contract, Instant, Token, new_id, now
from natscope.contracts.door import Command, Event
from natscope.contracts.message import Message


class Position(Contract):
    """How far a recall has read: recalling up to the same position gives the same messages again."""

    session: int = 0
    """Last stream sequence of the session's own log."""
    hubs: dict[str, int] = Field(default_factory=dict)
    """Last stream sequence of each hub's log."""


class Append(Contract):
    """Add messages to a session's log, in order. A message whose id is there already is not added again."""

    session: Token
    messages: Annotated[list[Message], Field(min_length=1)]
    fresh: bool = False
    """Whether the session is likely to be new, which saves a look if it is; it may be wrong."""


class Appended(Contract):
    """What is true now."""

    added: int
    """How many were new."""
    position: Position


class Recall(Contract):
    """Ask for the latest messages of a session, merged with what was said in the hubs it has joined."""

    session: Token
    last: Annotated[int, Field(ge=0)] | None = None
    """At most so many messages."""
    token_budget: Annotated[int, Field(ge=0)] | None = None
    """At most so many tokens, counted as UTF-8 bytes / 4 and 2,000 a media block; whole messages, the newest first."""
    upto: Position | None = None
    """Read no further than this; None reads all there is."""


class Recalled(Contract):
    """The messages, oldest first. A tool result is never there without its call."""

    messages: list[Message]
    position: Position
    dropped: int = 0
    """How many older messages did not fit."""


class Clear(Contract):
    """Forget a session: its messages and its places in hubs."""

    session: Token


class Cleared(Contract):
    """How many messages are gone."""

    removed: int


class Export(Contract):
    """Ask for a whole session as one document."""

    session: Token


class Session(Contract):
    """A whole session."""

    session: Token
    messages: list[Message]
    exported_at: Instant = Field(default_factory=now)


class Import(Contract):
    """Write an exported session. Messages that are there already (by id) are not added again."""

    document: Session
    session: Token | None = None
    """Under this id instead of the document's own."""


class Search(Contract):
    """Ask for messages that contain all of the words, in whatever case, also inside longer words."""

    session: Token
    query: Annotated[str, Field(min_length=1)]
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    request_id: Token = Field(default_factory=new_id)


class Found(Contract):
    """The newest matches first."""

    messages: list[Message]


class Logged(Contract):
    """Messages that were appended together, as memory keeps them: all of them or none."""

    before: Annotated[int, Field(ge=0)]
    """How many messages of the session came before these."""
    messages: Annotated[list[Message], Field(min_length=1)]


APPEND = Command(
    template="memory.append",
    summary="Add messages to a session, once each.",
    room="memory",
    ask=Append,
    answer=Appended,
    deadline_s=10,
)
RECALL = Command(
    template="memory.recall",
    summary="Give a session's latest messages, merged with its hubs.",
    room="memory",
    ask=Recall,
    answer=Recalled,
    deadline_s=10,
)
SEARCH = Command(
    template="memory.search",
    summary="Find messages of a session by their words.",
    room="memory",
    ask=Search,
    answer=Found,
    deadline_s=10,
)
CLEAR = Command(
    template="memory.clear", summary="Forget a session.", room="memory", ask=Clear, answer=Cleared, deadline_s=10
)
EXPORT = Command(
    template="memory.export",
    summary="Give a whole session as one document.",
    room="memory",
    ask=Export,
    answer=Session,
    deadline_s=30,
)
IMPORT = Command(
    template="memory.import",
    summary="Write an exported session.",
    room="memory",
    ask=Import,
    answer=Appended,
    deadline_s=30,
)
LOGGED = Event[Logged](
    template="session.log.{session}",
    summary="Messages were added to a session, as memory keeps them.",
    room="memory",
    body=Logged,
    stream="SESSIONS",
)

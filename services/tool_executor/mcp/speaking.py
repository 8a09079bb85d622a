"""The port to a server: what is asked of it and what it answers, in words that know no SDK."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue

from services.tool_executor.mcp.entries import AnyEntry

Json = dict[str, JsonValue]
Hear = Callable[[str], Awaitable[None]]
"""Hears how a call goes on."""


@dataclass(frozen=True)
class Offer:
    """A tool, as its server describes it."""

    name: str
    description: str
    parameters: Json
    read_only: bool = False
    idempotent: bool = False


@dataclass(frozen=True)
class Answer:
    """What a call came to."""

    content: list[Json]
    """Blocks as the protocol has them: text, image, audio, resource, resource_link."""
    structured: JsonValue = None
    failed: bool = False
    """True if the server says that its tool failed."""


class ServerSaysNo(Exception):
    """The server answered a call with an error of the protocol: it did not run the tool."""


class SessionLost(Exception):
    """The session ended, or the way to the server broke. What was asked may have happened."""


class SessionForgotten(SessionLost):
    """The server does not know the session any more: what was asked has not happened."""


class AnswerUnreadable(Exception):
    """The server answered a call with what the protocol does not allow. The tool may have run."""


@dataclass
class Signs:
    """What is to be noticed of a session from outside."""

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is of no use any more."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server says that its tools are not what they were; whoever looks clears it."""


class Session(Protocol):
    """An open session. Any task may ask; the task that opened it closes it."""

    signs: Signs

    async def offers(self) -> list[Offer]:
        """Return the server's tools.

        Raises:
            SessionLost, ServerSaysNo, AnswerUnreadable
        """
        ...

    async def call(self, tool: str, arguments: Mapping[str, JsonValue], meta: Mapping[str, str], hear: Hear) -> Answer:
        """Call a tool; `meta` travels along. Has no deadline of its own: cancel it.

        Raises:
            SessionLost, ServerSaysNo, AnswerUnreadable
        """
        ...


Open = Callable[[AnyEntry], AbstractAsyncContextManager[Session]]
"""Opens a session, to be entered and left in one task.

Raises:
    ToolUnavailable, CredentialMissing: there is none.
"""
Opened = AsyncGenerator[Session]

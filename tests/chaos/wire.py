"""What goes over the wire while calls are made: how often each was answered, and how often its program began."""

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import nats
from nats.aio.msg import Msg

PROGRESS = "chaos.progress"


class Wire:
    """Hears every request to a tool, every reply, and every program that says that it has begun."""

    def __init__(self) -> None:
        self._calls: dict[str, str] = {}
        self._replies: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        """How often each call's program began."""

    @classmethod
    @asynccontextmanager
    async def tapped(cls, url: str) -> AsyncGenerator["Wire"]:
        """Listen for as long as the body runs."""
        wire = cls()
        connection = await nats.connect(url)
        await connection.subscribe("tool.call.>", cb=wire._asked)
        await connection.subscribe("_INBOX.>", cb=wire._replied)
        await connection.subscribe(f"{PROGRESS}.>", cb=wire._progressed)
        await connection.flush()
        try:
            yield wire
        finally:
            await connection.close()

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return len(self._calls)

    @property
    def answered_twice(self) -> list[str]:
        """Calls one request of which got more than one reply."""
        return [call for inbox, call in self._calls.items() if self._replies[inbox] > 1]

    @property
    def unanswered(self) -> set[str]:
        """Calls no request of which got a reply."""
        return set(self._calls.values()) - {call for inbox, call in self._calls.items() if self._replies[inbox]}

    @property
    def carried_out_twice(self) -> list[str]:
        """Calls whose program began more than once."""
        return [call for call, times in self.begun.items() if times > 1]

    async def _asked(self, message: Msg) -> None:
        self._calls[message.reply] = json.loads(message.data)["call_id"]

    async def _replied(self, message: Msg) -> None:
        self._replies[message.subject] += 1

    async def _progressed(self, message: Msg) -> None:
        self.begun[message.subject.removeprefix(f"{PROGRESS}.")] += json.loads(message.data)["text"].count("begun\n")

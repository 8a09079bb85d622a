"""Publishes an answer piece by piece while it is being written."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from natscope.contracts.contract import Contract
from natscope.contracts.model import Delta, FinishReason, Usage
from services.model_gateway.ports import Piece

Say = Callable[[str, Contract], Awaitable[None]]
"""Publishes a body to a subject."""


class Deltas:
    """The deltas of one answer."""

    def __init__(self, say: Say, subject: str) -> None:
        self._say = say
        self._subject = subject
        self._attempt = 1
        self._sequence = 0
        self._began = time.perf_counter()
        self.first_s: float | None = None
        """Seconds until the first piece, once it has come."""
        self.letters = 0
        """What the current attempt has written so far."""
        self.has_begun = False
        """Whether a piece of the present attempt was heard."""

    async def hear(self, piece: Piece) -> None:
        """Publish a piece, and let it leave before more is read.

        Without the pause nats-py would keep the first token until the loop is idle.
        """
        if self.first_s is None:
            self.first_s = time.perf_counter() - self._began
        self.letters += len(piece.text)
        self.has_begun = True
        await self._publish(
            Delta(
                attempt=self._attempt,
                sequence=self._sequence,
                kind=piece.kind,
                block=piece.block,
                text=piece.text,
                call_id=piece.call_id,
                tool=piece.tool,
            )
        )

    async def reset(self) -> None:
        """Say that what was published is void, and begin the next attempt; nothing to say if nothing was published."""
        if self.has_begun:
            self.has_begun = False
            self._attempt += 1
            self._sequence = self.letters = 0
            await self._publish(Delta(attempt=self._attempt, sequence=0, kind="reset"))

    async def end(self, usage: Usage, finish_reason: FinishReason) -> None:
        """Say that the message is whole, and what it took."""
        await self._publish(
            Delta(
                attempt=self._attempt,
                sequence=self._sequence,
                kind="end",
                usage=usage,
                finish_reason=finish_reason,
            )
        )

    async def _publish(self, delta: Delta) -> None:
        self._sequence += 1
        await self._say(self._subject, delta)
        await asyncio.sleep(0)

"""Answers what is asked under an id once: asked again, the answer is given again and nothing is paid."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from opentelemetry import trace

from natscope.contracts.contract import Contract
from natscope.contracts.errors import Refused
from natscope.contracts.model import Chat, Chatted, Draw, Drawn, Embed, Embedded, Speak, Spoken, Transcribe, Transcribed
from natscope.telemetry import names

Ask = Chat | Embed | Speak | Transcribe | Draw
AnswerT = TypeVar("AnswerT", Chatted, Embedded, Spoken, Transcribed, Drawn)


class Ledger(Protocol[AnswerT]):
    """Keeps answers by id; see `natscope.bus.ledger`."""

    async def once(
        self,
        id: str,
        ask: Contract,
        work: Callable[[], Awaitable[AnswerT]],
        *,
        lost: Callable[[], Awaitable[AnswerT]] | None = None,
        ignoring: set[str] | dict[str, Any] | None = None,
    ) -> tuple[AnswerT, bool]:
        """Return the answer, and whether it was kept from before."""
        ...

    def cancel(self, id: str) -> bool:
        """Stop the work under `id` if it runs here."""
        ...


async def answered(
    ledger: Ledger[AnswerT],
    id: str,
    ask: Ask,
    work: Callable[[], Awaitable[AnswerT]],
    *,
    ignoring: dict[str, Any] | None = None,
) -> AnswerT:
    """Return what `work` answers, or what was answered under `id` before; that is marked as replayed.

    Raises:
        Refused: the request was cancelled meanwhile by who asked.
        NatscopeError: see `natscope.bus.ledger`, and `work`.
    """
    try:
        answer, kept = await ledger.once(id, ask, work, ignoring=ignoring)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Refused(f"request {ask.request_id!r} was cancelled by its asker") from None
    if not kept:
        return answer
    trace.get_current_span().set_attribute(names.REPLAYED, True)
    return answer.model_copy(update={"replayed": True})

"""Answers a chat: finds the model, asks it, and does so once for each request id."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from opentelemetry import trace

from natscope.contracts.contract import Contract
from natscope.contracts.errors import Refused
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Chatted, ModelInfo
from natscope.telemetry import Telemetry, names
from services.model_gateway.catalog.models_file import Catalog
from services.model_gateway.deltas import Deltas, Say
from services.model_gateway.media import Blobs, Shelf, inlined
from services.model_gateway.observed import answered, chat_span
from services.model_gateway.ports import Accounts, Reply
from services.model_gateway.trying.attempts import Attempts

IGNORED = {"deltas_to"}
"""What may differ when a request is asked again."""


class Ledger(Protocol):
    """Keeps answers by request id; see `natscope.bus.ledger`."""

    async def once(
        self,
        id: str,
        ask: Contract,
        work: Callable[[], Awaitable[Chatted]],
        *,
        lost: Callable[[], Awaitable[Chatted]] | None = None,
        ignoring: set[str] | None = None,
    ) -> tuple[Chatted, bool]:
        """Return the answer, and whether it was kept from before."""
        ...

    def cancel(self, id: str) -> bool:
        """Stop the work under `id` if it runs here."""
        ...


class Gateway:
    """The service's one function, apart from how it is reached."""

    def __init__(
        self,
        catalog: Catalog,
        accounts: Accounts,
        attempts: Attempts,
        *,
        ledger: Ledger,
        blobs: Blobs,
        say: Say,
        telemetry: Telemetry,
        max_media_bytes: int,
    ) -> None:
        self._catalog = catalog
        self._accounts = accounts
        self._attempts = attempts
        self._ledger = ledger
        self._blobs = blobs
        self._say = say
        self._telemetry = telemetry
        self._max_media_bytes = max_media_bytes

    async def chat(self, ask: Chat) -> Chatted:
        """Return the assistant's next message. Asked again under the same id it is the same, and nothing is paid.

        Raises:
            ModelNotFound, CredentialMissing: the alias leads nowhere.
            NatscopeError: the provider gave no answer; nothing is recorded, asking again asks it again.
            Refused: the request was cancelled meanwhile.
        """
        try:
            answer, kept = await self._ledger.once(ask.request_id, ask, lambda: self._ask(ask), ignoring=IGNORED)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Refused(f"request {ask.request_id!r} was cancelled by its asker") from None
        if not kept:
            return answer
        trace.get_current_span().set_attribute(names.REPLAYED, True)
        return answer.model_copy(update={"replayed": True})

    def cancel(self, request_id: str) -> None:
        """Break off a request if it is being answered here; the provider's connection is closed."""
        self._ledger.cancel(request_id)

    def models(self) -> list[ModelInfo]:
        """Return the aliases that may be asked for."""
        return self._catalog.infos()

    async def _ask(self, ask: Chat) -> Chatted:
        target = self._catalog.targets(ask.model)[0]
        provider = self._accounts.at(target.provider)
        deltas = Deltas(self._say, ask.deltas_to) if ask.deltas_to else None
        with chat_span(self._telemetry, ask, target, provider) as span:
            prompt = await inlined(ask, Shelf(self._blobs, self._max_media_bytes))
            reply = await self._attempts.run(prompt, target, provider, deltas=deltas)
            answered(
                self._telemetry,
                span,
                reply,
                target=target,
                provider=provider,
                first_s=deltas.first_s if deltas else None,
            )
        return _chatted(ask, reply, provider.name)


def _chatted(ask: Chat, reply: Reply, provider: str) -> Chatted:
    return Chatted(
        message=Message(name=ask.agent or "assistant", role="assistant", content=reply.content),
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        provider=provider,
        model=reply.model,
        response_id=reply.response_id,
    )

"""Answers a chat: finds the model, asks it, and does so once for each request id."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import JsonValue

from natscope.contracts.blocks import ContentBlock
from natscope.contracts.errors import NatscopeError
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Chatted
from natscope.telemetry import Telemetry
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.checks import check_ask
from services.model_gateway.choosing import sight, those_that_fit
from services.model_gateway.deltas import Deltas, Say
from services.model_gateway.media import Shelf, inlined
from services.model_gateway.observed import observed
from services.model_gateway.once import Ledger, answered
from services.model_gateway.providers.scripted import pieces
from services.model_gateway.repair.finishing import Finished, finished
from services.model_gateway.reserving import KEPT_S, Reserved
from services.model_gateway.storing import Store, stored
from services.model_gateway.talking import Said, Talker
from services.model_gateway.trying.attempts import Outcome
from services.model_gateway.trying.routes import Route
from services.model_gateway.ways import Ways
from services.model_gateway.wires.collapsed import collapsed

IGNORED: dict[str, Any] = {"deltas_to": True, "messages": {"__all__": {"id": True, "created_at": True}}}
"""What may differ when a request is asked again; who writes messages by hand leaves ids and times to us."""
TURNS = 3
"""Of the event loop, until the ledger's question is written to the socket: its task, the flusher, the write."""


class Reused(Protocol):
    """Answers to the same question; see `accounting.reuse`."""

    async def find(self, ask: Chat, target: str, *, within_s: float) -> Chatted | None:
        """Return an answer that is not older than `within_s`."""
        ...

    async def keep(self, ask: Chat, target: str, answer: Chatted) -> None:
        """Keep an answer for the next that asks the same."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """Where answers are kept."""

    ledger: Ledger[Chatted]
    reused: Reused


class _Begun:
    """What is done of an ask while the ledger looks for its answer: it costs nothing."""

    def __init__(self, ways: list[Route], reserved: Reserved | None = None) -> None:
        self.ways = ways
        self.reserved = reserved
        self._since = asyncio.get_running_loop().time()

    @property
    def is_stale(self) -> bool:
        """Whether the models file may have changed meanwhile."""
        return asyncio.get_running_loop().time() - self._since > KEPT_S

    def drop(self) -> None:
        """Give back what was reserved and not used."""
        if self.reserved is not None:
            self.reserved.drop()


class _Meanwhile:
    """Begins an ask once the ledger's question is on its way, so that nobody waits for the one or the other."""

    def __init__(self, begin: Callable[[], _Begun | None]) -> None:
        self._begin = begin
        self._begun: _Begun | None = None
        self._turns = TURNS
        self._next: asyncio.Handle | None = asyncio.get_running_loop().call_soon(self._turn)

    def take(self) -> _Begun | None:
        """Return what is begun, beginning it now if it is not; None if nothing could be or it may be out of date."""
        if self._next is not None:
            self._next.cancel()
            self._go()
        if self._begun is not None and self._begun.is_stale:
            self._begun.drop()
            return None
        return self._begun

    def end(self) -> None:
        """Give back what was not used."""
        if self._next is not None:
            self._next.cancel()
        if self._begun is not None:
            self._begun.drop()

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self._next = asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._go()

    def _go(self) -> None:
        self._next = None
        self._begun = self._begin()


class Gateway:
    """The service's one function, apart from how it is reached."""

    def __init__(
        self,
        models: Models,
        ways: Ways,
        talker: Talker,
        *,
        kept: Kept,
        shelf: Shelf,
        store: Store,
        say: Say,
        telemetry: Telemetry,
    ) -> None:
        self._models = models
        self._ways = ways
        self._talker = talker
        self._ledger = kept.ledger
        self._reused = kept.reused
        self._shelf = shelf
        self._store = store
        self._say = say
        self._telemetry = telemetry
        self._under_way: set[str] = set()

    async def chat(self, ask: Chat) -> Chatted:
        """Return the assistant's next message. Asked again under the same id it is the same, and nothing is paid.

        Raises:
            ModelNotFound, CredentialMissing: the alias leads nowhere.
            Refused: it cannot be asked as it is, or a budget has no room for it; nothing was paid.
            OutputInvalid: the answer is not what `ask.output` demands, and no rule makes it so.
            NatscopeError: the provider gave no answer; nothing is recorded, asking again asks it again.
            Refused: the request was cancelled meanwhile.
        """
        if ask.request_id in self._under_way:
            return await answered(self._ledger, ask.request_id, ask, lambda: self._ask(ask, None), ignoring=IGNORED)
        self._under_way.add(ask.request_id)
        meanwhile = _Meanwhile(lambda: self._begin(ask))
        try:
            return await answered(
                self._ledger, ask.request_id, ask, lambda: self._ask(ask, meanwhile.take()), ignoring=IGNORED
            )
        finally:
            self._under_way.discard(ask.request_id)
            meanwhile.end()

    def cancel(self, request_id: str) -> None:
        """Break off a request if it is being answered here; the provider's connection is closed."""
        self._ledger.cancel(request_id)

    def _begin(self, ask: Chat) -> _Begun | None:
        """Reserve room, unless it is known that none is needed; None: also if it cannot be asked as it is."""
        try:
            begun = _Begun(self._fitting(ask))
        except NatscopeError:
            return None
        if not self._reuse_s(ask):
            begun.reserved = self._talker.reserve(ask, begun.ways[0])
        return begun

    def _fitting(self, ask: Chat) -> list[Route]:
        check_ask(ask)
        return those_that_fit(ask, self._ways(ask.model, "chat"), self._talker.estimate)

    def _reuse_s(self, ask: Chat) -> float:
        return ask.reuse_s or self._models.catalog.alias(ask.model).reuse_s

    async def _ask(self, ask: Chat, begun: _Begun | None) -> Chatted:
        if begun is None:
            begun = _Begun(self._fitting(ask))
        within_s, first = self._reuse_s(ask), begun.ways[0].target.name
        if within_s and (found := await self._reused.find(ask, first, within_s=within_s)):
            await self._tell(ask, found)
            return _said_anew(found, ask)
        answer, target = await self._talk(ask, begun)
        if within_s:
            await self._reused.keep(ask, target.name, answer)
        return answer

    async def _talk(self, ask: Chat, begun: _Begun) -> tuple[Chatted, Target]:
        ways = begun.ways
        deltas = Deltas(self._say, ask.deltas_to) if ask.deltas_to else None
        with observed(self._telemetry, ask, ways[0]) as seen:
            shown = await inlined(collapsed(ask), self._shelf, sight(ask, ways))
            outcome = await self._talker.run(ask, shown, ways, deltas, begun.reserved)
            seen.answered(outcome, first_s=deltas.first_s if deltas else None)
            done = finished(outcome.value.reply, ask)
            seen.repaired(done.rules)
        content = await stored(done.reply.content, self._store)
        if deltas is not None:
            await deltas.end(done.reply.usage, done.reply.finish_reason)
        return _chatted(ask, outcome, done, content), outcome.route.target

    async def _tell(self, ask: Chat, answer: Chatted) -> None:
        """Let who listens hear an answer that was given before."""
        if ask.deltas_to:
            deltas = Deltas(self._say, ask.deltas_to)
            for piece in pieces(answer.message.content):
                await deltas.hear(piece)
            await deltas.end(answer.usage, answer.finish_reason)


def _said_anew(answer: Chatted, ask: Chat) -> Chatted:
    """Return an answer given before as the message of who asks now: a session takes each message id once."""
    said = answer.message
    return answer.model_copy(update={"message": _message(ask, said.content, said.metadata)})


def _message(ask: Chat, content: list[ContentBlock], metadata: dict[str, JsonValue]) -> Message:
    return Message(name=ask.agent or "assistant", role="assistant", content=content, metadata=metadata)


def _chatted(ask: Chat, outcome: Outcome[Said], done: Finished, content: list[ContentBlock]) -> Chatted:
    reply = done.reply
    return Chatted(
        message=_message(ask, content, reply.metadata),
        finish_reason=reply.finish_reason,
        output=done.output,
        usage=reply.usage,
        cost_usd=outcome.value.cost_usd,
        provider=outcome.route.provider.name,
        model=reply.model,
        response_id=reply.response_id,
        attempts=outcome.attempts,
    )

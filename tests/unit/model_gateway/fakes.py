"""Stand-ins for what the gateway is given."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from natscope.contracts.blocks import TextBlock
from natscope.contracts.contract import Contract
from natscope.contracts.errors import BlobNotFound
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Delta, Usage
from services.model_gateway.ports import Hear, Piece, Prompt, Reply
from services.model_gateway.trying.faults import Failed, FaultName

AnswerT = TypeVar("AnswerT", bound=Contract)

Act = Reply | Failed | Piece | float
"""What a provider does next: answers, fails, says a piece, or takes so many seconds."""


def answer(text: str = "Yes.") -> Reply:
    return Reply([TextBlock(text=text)], "stop", Usage(input_tokens=3, output_tokens=2), "m-1-full", "r-1")


def fault(name: FaultName, *, retry_after_s: float | None = None) -> Failed:
    return Failed(name, provider="fake", key="FAKE_KEY", retry_after_s=retry_after_s)


def question(text: str = "Really?", **more: object) -> Chat:
    said = Message(name="user", role="user", content=[TextBlock(text=text)])
    return Chat.model_validate({"model": "default", "messages": [said], **more})


class FakeProvider:
    """Carries out a list of acts; a `chat` ends with a reply or a failure."""

    name = "fake"
    address = ("fake.example", 443)

    def __init__(self, *acts: Act) -> None:
        self._acts = list(acts)
        self.prompts: list[Prompt] = []
        self.cancelled = 0
        self.closed = False
        self.busy = asyncio.Event()
        """Set when it takes its time."""

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        self.prompts.append(prompt)
        while True:
            act = self._acts.pop(0) if self._acts else answer()
            if isinstance(act, Reply):
                return act
            if isinstance(act, Failed):
                raise act
            if isinstance(act, Piece):
                assert hear is not None
                await hear(act)
                continue
            self.busy.set()
            try:
                await asyncio.sleep(act)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

    async def close(self) -> None:
        self.closed = True


class FakeAccount:
    """A key of a provider that is there already."""

    def __init__(self, id: str, provider: FakeProvider, *, patience_s: float | None = None) -> None:
        self.id = id
        self.key = id.upper()
        self.provider = provider
        self.patience_s = patience_s
        self.users = 0

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1


class FakeAccounts:
    """Accounts by the names of their providers: one for each fake provider that is named."""

    def __init__(self, **providers: list[FakeProvider]) -> None:
        self.accounts = {
            name: [FakeAccount(f"{name}-{place}", each) for place, each in enumerate(found)]
            for name, found in providers.items()
        }

    def of(self, provider: str) -> list[FakeAccount]:
        return self.accounts[provider]


class FakeLedger(Generic[AnswerT]):
    """Keeps answers in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, AnswerT] = {}
        self.cancelled: list[str] = []

    async def once(
        self,
        id: str,
        ask: Contract,
        work: Callable[[], Awaitable[AnswerT]],
        *,
        lost: Callable[[], Awaitable[AnswerT]] | None = None,
        ignoring: set[str] | dict[str, Any] | None = None,
    ) -> tuple[AnswerT, bool]:
        if id in self.kept:
            return self.kept[id], True
        self.kept[id] = await work()
        return self.kept[id], False

    def cancel(self, id: str) -> bool:
        self.cancelled.append(id)
        return True


class FakeBlobs:
    """Holds blobs by their address."""

    def __init__(self, **blobs: bytes) -> None:
        self.blobs = {f"nats://blob/blobs/{name}": data for name, data in blobs.items()}
        self.loaded: list[str] = []

    async def load(self, url: str, *, digest: str | None = None) -> bytes:
        self.loaded.append(url)
        if url not in self.blobs:
            raise BlobNotFound(f"blob {url!r} is gone")
        return self.blobs[url]


class Heard:
    """Notes every delta."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []

    async def say(self, subject: str, body: Contract) -> None:
        assert isinstance(body, Delta)
        self.deltas.append(body)

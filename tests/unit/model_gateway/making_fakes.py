"""Stand-ins for whoever makes things, and for whoever is paid."""

import asyncio
import base64
from collections.abc import Callable
from typing import TypeVar

from natscope.contracts.blocks import Base64Source, URLSource
from natscope.contracts.errors import BlobNotFound
from natscope.contracts.model import (
    Account,
    AskUsage,
    Chat,
    Chatted,
    Draw,
    Drawn,
    Embed,
    Embedded,
    Listed,
    Speak,
    Spoken,
    Transcribe,
    Transcribed,
    Usage,
    UsageTold,
)
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.keeping import Ledgers
from services.model_gateway.paying import Ask, Tokens
from services.model_gateway.ports import Made, Media, Transcript, Vectors
from services.model_gateway.trying.faults import Failed
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import FakeLedger, FakeProvider

T = TypeVar("T")
SPENT = Usage(input_tokens=5)
PNG = Media(b"\x89PNG\r\n\x1a\n...", "image/png")


class FakeMaker(FakeProvider):
    """Makes everything at once, unless a fault or a pause is next; a vector is its text's length."""

    def __init__(self, *next: Failed | float, texts_at_once: int = 2, addresses: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._next = list(next)
        self._addresses = addresses
        self.texts_at_once = texts_at_once
        self.asked: list[Ask] = []
        self.heard: list[Media] = []

    async def embed(self, ask: Embed, *, model: str, timeout_s: float) -> Vectors:
        return await self._do(ask, lambda: Vectors([[float(len(text))] for text in ask.texts], SPENT, f"{model}-full"))

    async def speak(self, ask: Speak, *, model: str, timeout_s: float) -> Made:
        return await self._do(ask, lambda: Made([Media(b"sound", "audio/mpeg")], Usage(), model))

    async def transcribe(self, ask: Transcribe, sound: Media, *, model: str, timeout_s: float) -> Transcript:
        self.heard.append(sound)
        return await self._do(ask, lambda: Transcript("Said.", SPENT, model))

    async def draw(self, ask: Draw, *, model: str, timeout_s: float) -> Made:
        return await self._do(ask, lambda: Made([PNG] * ask.count, SPENT, model, self._addresses))

    async def _do(self, ask: Ask, make: Callable[[], T]) -> T:
        self.asked.append(ask)
        act = self._next.pop(0) if self._next else 0.0
        if isinstance(act, Failed):
            raise act
        self.busy.set()
        try:
            await asyncio.sleep(act)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return make()


class FakeCharge:
    """A reservation."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.max_output_tokens: int | None = None
        self.state = "held"
        self.usage: Usage | None = None
        self.estimated = False

    async def settle(
        self, usage: Usage, model: str, *, billed_usd: float | None = None, estimated: bool = False
    ) -> float | None:
        self.state, self.usage, self.estimated = "settled", usage, estimated
        return 0.5

    async def release(self) -> None:
        if self.state == "held":
            self.state = "released"


class FakeCharges:
    """Half a dollar each; what is reserved is remembered. A refusal stands in the way of all."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.held: list[FakeCharge] = []
        self.refusal = refusal
        self.max_output_tokens: int | None = None
        """How long answers may become."""

    async def hold(self, ask: Ask, route: Route, tokens: Tokens, *, within_s: float) -> FakeCharge:
        if self.refusal is not None:
            raise self.refusal
        self.held.append(FakeCharge(tokens))
        self.held[-1].max_output_tokens = self.max_output_tokens
        return self.held[-1]


class FakeBooks:
    """One account, whatever is asked, and the models of a file."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def listed(self) -> Listed:
        return Listed(models=self._models.catalog.infos())

    async def told(self, ask: AskUsage) -> UsageTold:
        return UsageTold(accounts=[Account(scope=ask.scope, name=ask.name or "default", calls=1)])


class FakeReused:
    """Keeps one answer of each target."""

    def __init__(self) -> None:
        self.kept: dict[str, Chatted] = {}

    async def find(self, ask: Chat, target: str, *, within_s: float) -> Chatted | None:
        return self.kept.get(target)

    async def keep(self, ask: Chat, target: str, answer: Chatted) -> None:
        self.kept[target] = answer


class FakeStore:
    """Keeps what was made, and never inline."""

    def __init__(self, **blobs: bytes) -> None:
        self.kept: dict[str, bytes] = {f"nats://blob/blobs/{name}": data for name, data in blobs.items()}

    async def source(self, data: bytes, media_type: str) -> URLSource | Base64Source:
        url = f"nats://blob/blobs/{len(self.kept)}"
        self.kept[url] = data
        return URLSource(url=url, media_type=media_type, size_bytes=len(data))

    async def load(self, url: str, *, digest: str | None = None) -> bytes:
        if url not in self.kept:
            raise BlobNotFound(f"blob {url!r} is gone")
        return self.kept[url]


def fake_ledgers() -> Ledgers:
    """Return ledgers in memory."""
    return Ledgers(FakeLedger[Embedded](), FakeLedger[Spoken](), FakeLedger[Transcribed](), FakeLedger[Drawn]())


def packed(data: bytes, media_type: str) -> Base64Source:
    """Return `data` inline."""
    return Base64Source(data=base64.b64encode(data).decode(), media_type=media_type)

"""Vectors, speech, transcripts and pictures from an endpoint of OpenAI's make."""

from collections.abc import Callable
from typing import TypeVar

from natscope.contracts.model import Draw, Embed, Speak, Transcribe
from services.model_gateway.ports import Made, Media, Transcript, Vectors
from services.model_gateway.providers.openai_account import File, OpenAIAccount
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires import making
from services.model_gateway.wires.dialects import Embedding
from services.model_gateway.wires.http_faults import told

T = TypeVar("T")


class OpenAIMedia:
    """What an account does besides talking; each method is one HTTP request."""

    def __init__(self, account: OpenAIAccount, embedding: Embedding | None = None) -> None:
        """`embedding` is how the endpoint wants to be asked for vectors; None: as OpenAI does."""
        self._account = account
        self._embedding = embedding or Embedding()
        self.texts_at_once = self._embedding.texts_at_once

    async def embed(self, ask: Embed, *, model: str, timeout_s: float) -> Vectors:
        """Ask once; see `ports.Embedder`."""
        body = making.embed_body(ask, model, packed=self._embedding.packed)
        answer = await self._account.post("/embeddings", body, timeout_s=timeout_s)
        return self._read(lambda: making.embedded(answer.content, count=len(ask.texts), model=model))

    async def speak(self, ask: Speak, *, model: str, timeout_s: float) -> Made:
        """Ask once; see `ports.Speaker`."""
        answer = await self._account.post("/audio/speech", making.speak_body(ask, model), timeout_s=timeout_s)
        return self._read(lambda: making.spoken(answer.content, kind=answer.kind, ask=ask, model=model))

    async def transcribe(self, ask: Transcribe, sound: Media, *, model: str, timeout_s: float) -> Transcript:
        """Ask once; see `ports.Transcriber`."""
        file = File("file", making.file_name(sound.media_type), sound.data, sound.media_type)
        fields = making.transcribe_fields(ask, model)
        answer = await self._account.upload("/audio/transcriptions", fields, [file], timeout_s=timeout_s)
        return self._read(lambda: making.transcribed(answer.content, model=model))

    async def draw(self, ask: Draw, *, model: str, timeout_s: float) -> Made:
        """Ask once; see `ports.Painter`."""
        answer = await self._account.post("/images/generations", making.draw_body(ask, model), timeout_s=timeout_s)
        return self._read(lambda: making.drawn(answer.content, model=model))

    def _read(self, reading: Callable[[], T]) -> T:
        try:
            return reading()
        except making.Unreadable as unreadable:
            raise self._failed(unreadable) from None

    def _failed(self, unreadable: making.Unreadable) -> Failed:
        account = self._account
        if unreadable.error is None:
            return account.failed(unreadable.fault)
        return told(account.name, unreadable.error, key=account.key_name, secret=account.secret)

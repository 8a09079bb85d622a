"""Makes what is asked of models besides talk: vectors, speech, transcripts and pictures."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from opentelemetry.util.types import AttributeValue

from natscope.contracts.blocks import AudioBlock, Base64Source, ImageBlock, TextBlock, URLSource
from natscope.contracts.errors import BodyInvalid, ContextTooLong, ModelNotFound
from natscope.contracts.model import (
    Draw,
    Drawn,
    Embed,
    Embedded,
    Purpose,
    Speak,
    Spoken,
    Transcribe,
    Transcribed,
    Usage,
)
from natscope.telemetry import Telemetry, names
from services.model_gateway.checks import CLEARLY
from services.model_gateway.making_seen import EMBEDDINGS, GENERATE, Seen, seen
from services.model_gateway.media import Shelf
from services.model_gateway.paying import Ask, Paid, Till, Tokens
from services.model_gateway.ports import Embedder, Made, Media, Painter, Speaker, Transcriber, Transcript, Vectors
from services.model_gateway.trying.routes import Route

PortT = TypeVar("PortT")

BATCH_BYTES = 600_000
"""Of text in one request for vectors; OpenAI takes 300,000 tokens.
Source: https://platform.openai.com/docs/api-reference/embeddings/create, `input`."""
PICTURE_TOKENS = 6_500
"""The most that one picture takes.
Source: https://platform.openai.com/docs/guides/image-generation, "Cost and latency"."""
BYTES_PER_SOUND_TOKEN = 500
"""Of a recording: about 10 tokens a second, and 5 kB a second in the most frugal formats."""
BYTES_PER_TOKEN = 4


class Store(Protocol):
    """Keeps what was made."""

    async def source(self, data: bytes, media_type: str) -> URLSource | Base64Source:
        """Return a reference to `data`, or itself if it is small."""
        ...


Ways = Callable[[str, Purpose], Sequence[Route]]
"""Finds the routes of an alias that is for a purpose; at least one."""


class Maker:
    """Each ask is one request to one provider, except where texts are too many for one."""

    def __init__(self, ways: Ways, till: Till, *, shelf: Shelf, store: Store, telemetry: Telemetry) -> None:
        self._ways = ways
        self._till = till
        self._shelf = shelf
        self._store = store
        self._telemetry = telemetry

    async def embed(self, ask: Embed) -> Embedded:
        """Return one vector for each text. All come from one model: vectors of two cannot be compared.

        Raises:
            BodyInvalid, ContextTooLong: a text is empty or too long; nothing was asked.
        """
        ways = self._ways(ask.model, "embedding")
        _check_texts(ask.texts, ways[0])
        ends = self._till.ends()
        found: list[Embedded] = []
        with self._seen(EMBEDDINGS, ask, ways, {names.DIMENSIONS: ask.dimensions}) as noted:
            for texts in _batches(ask.texts, _texts_at_once(ways)):
                part = ask.model_copy(update={"texts": texts})
                tokens = Tokens(_tokens(*texts))
                paid = await self._till.paid(part, ways, _embedding(part), tokens=tokens, ends=ends)
                ways = [way for way in ways if way.target is paid.route.target]
                _note(noted, paid)
                found.append(
                    Embedded(
                        vectors=paid.value.vectors,
                        usage=paid.value.usage,
                        cost_usd=paid.cost_usd,
                        provider=paid.route.provider.name,
                        model=paid.value.model,
                    )
                )
        return _joined(found)

    async def speak(self, ask: Speak) -> Spoken:
        """Return a text, spoken."""
        ways = self._ways(ask.model, "speech")

        async def once(route: Route, timeout_s: float) -> Made:
            return await _able(route, Speaker).speak(ask, model=route.target.model, timeout_s=timeout_s)

        tokens = Tokens(_tokens(ask.text, ask.instructions or ""))
        with self._seen(GENERATE, ask, ways, {names.OUTPUT_TYPE: "speech"}) as noted:
            paid = await self._till.paid(ask, ways, once, tokens=tokens, ends=self._till.ends())
            _note(noted, paid)
            sound = paid.value.media[0]
            source = await self._store.source(sound.data, sound.media_type)
        return Spoken(
            audio=AudioBlock(source=source),
            cost_usd=paid.cost_usd,
            provider=paid.route.provider.name,
            model=paid.value.model,
        )

    async def transcribe(self, ask: Transcribe) -> Transcribed:
        """Return what is said in a recording.

        Raises:
            BodyInvalid, BodyTooLarge, MediaUnavailable, BlobNotFound: the recording cannot be had, or is none.
        """
        ways = self._ways(ask.model, "transcription")
        sound = await self._shelf.media(ask.audio, "the recording")

        async def once(route: Route, timeout_s: float) -> Transcript:
            return await _able(route, Transcriber).transcribe(ask, sound, model=route.target.model, timeout_s=timeout_s)

        heard = len(sound.data) // BYTES_PER_SOUND_TOKEN
        tokens = Tokens(_tokens(ask.hint or "") + heard, heard)
        with self._seen(GENERATE, ask, ways, {names.OUTPUT_TYPE: "text"}) as noted:
            paid = await self._till.paid(ask, ways, once, tokens=tokens, ends=self._till.ends())
            _note(noted, paid)
        return Transcribed(
            text=TextBlock(text=paid.value.text),
            usage=paid.value.usage,
            cost_usd=paid.cost_usd,
            provider=paid.route.provider.name,
            model=paid.value.model,
        )

    async def draw(self, ask: Draw) -> Drawn:
        """Return pictures: as many as were asked for, or fewer if the provider makes fewer.

        Raises:
            BodyInvalid: only one side is given; nothing was asked.
            MediaUnavailable: a picture was made, but is not at the address that the provider gave.
        """
        if (ask.width is None) != (ask.height is None):
            raise BodyInvalid("one side of the picture is given", remedy="give width and height, or neither")
        ways = self._ways(ask.model, "image")

        async def once(route: Route, timeout_s: float) -> Made:
            return await _able(route, Painter).draw(ask, model=route.target.model, timeout_s=timeout_s)

        tokens = Tokens(_tokens(ask.prompt), PICTURE_TOKENS * ask.count)
        with self._seen(GENERATE, ask, ways, {names.OUTPUT_TYPE: "image"}) as noted:
            paid = await self._till.paid(ask, ways, once, tokens=tokens, ends=self._till.ends())
            _note(noted, paid)
            pictures = [*paid.value.media, *[await self._fetched(address) for address in paid.value.addresses]]
            sources = [await self._store.source(each.data, each.media_type) for each in pictures]
        return Drawn(
            images=[ImageBlock(source=source) for source in sources],
            usage=paid.value.usage,
            cost_usd=paid.cost_usd,
            provider=paid.route.provider.name,
            model=paid.value.model,
        )

    async def _fetched(self, address: str) -> Media:
        picture = ImageBlock(source=URLSource(url=address, media_type="image/png"))
        return await self._shelf.media(picture, "the picture")

    def _seen(
        self, operation: str, ask: Ask, ways: Sequence[Route], more: Mapping[str, AttributeValue | None]
    ) -> AbstractContextManager[Seen]:
        return seen(self._telemetry, operation, ways[0], {names.CONVERSATION: ask.session, **more})


def _embedding(ask: Embed) -> Callable[[Route, float], Awaitable[Vectors]]:
    async def once(route: Route, timeout_s: float) -> Vectors:
        return await _able(route, Embedder).embed(ask, model=route.target.model, timeout_s=timeout_s)

    return once


def _able(route: Route, port: type[PortT]) -> PortT:
    """Return the route's provider as what it must be.

    Raises:
        ModelNotFound: it is none; nothing was asked.
    """
    provider = route.provider
    if not isinstance(provider, port):
        raise ModelNotFound(
            f"provider {route.target.provider!r} has no models of this kind", remedy="mend the alias in the models file"
        )
    return provider


def _note(noted: Seen, paid: Paid[Vectors] | Paid[Made] | Paid[Transcript]) -> None:
    noted.paid(paid.route, paid.value.usage, paid.value.model, paid.cost_usd)


def _texts_at_once(ways: Sequence[Route]) -> int:
    """Return how many texts every one of the ways takes in one request."""
    return min(_able(way, Embedder).texts_at_once for way in ways)


def _batches(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield `texts` in as few requests as take them."""
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if batch and (len(batch) == most or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    yield batch


def _check_texts(texts: Sequence[str], way: Route) -> None:
    window = way.target.context_size
    for place, text in enumerate(texts):
        if not text:
            raise BodyInvalid(f"text {place} is empty", remedy="leave it out")
        if window is not None and _tokens(text) > window * CLEARLY:
            raise ContextTooLong(
                f"text {place} is about {_tokens(text):,} tokens, {way.target.name!r} takes {window:,}",
                remedy="cut it into pieces",
                details={"estimated_tokens": _tokens(text), "context_size": window},
            )


def _tokens(*texts: str) -> int:
    return sum(-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts)


def _joined(found: Sequence[Embedded]) -> Embedded:
    """Return the answers to parts of an ask as one."""
    costs = [part.cost_usd for part in found if part.cost_usd is not None]
    return found[-1].model_copy(
        update={
            "vectors": [vector for part in found for vector in part.vectors],
            "usage": sum((part.usage for part in found), Usage()),
            "cost_usd": sum(costs) if len(costs) == len(found) else None,
        }
    )

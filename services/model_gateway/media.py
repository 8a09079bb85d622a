"""Brings media to where a provider can see it: blobs of ours and what lies in the web are loaded and put inline."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from natscope.contracts.blocks import (
    Base64Source,
    ContentBlock,
    FileBlock,
    MediaBlock,
    TextBlock,
    ToolResultBlock,
    URLSource,
)
from natscope.contracts.errors import BodyInvalid, BodyTooLarge, MediaUnavailable
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Modality
from services.model_gateway.addresses import may_be_public
from services.model_gateway.ports import Fetches, Media
from services.model_gateway.sniffing import contradicts, kind_of, plain_kind

T = TypeVar("T")

PDF = "application/pdf"
BLOB = "nats://blob/"
TEXT_BYTES = 32 << 10
"""Text files up to this size are read out to a model that has no tools to open them."""
SMALL = 256 << 10
"""What is larger is encoded and decoded in a thread."""


class Blobs(Protocol):
    """Where blobs are kept."""

    async def load(self, url: str, *, digest: str | None = None) -> bytes:
        """Return the bytes of a blob."""
        ...


class Fetched(Protocol):
    """What was found at an address."""

    @property
    def data(self) -> bytes:
        """All of it."""
        ...

    @property
    def media_type(self) -> str | None:
        """As the server says; None if it does not."""
        ...


class Web(Protocol):
    """What lies at public addresses."""

    async def fetch(self, url: str, *, max_bytes: int) -> Fetched:
        """Return what is at `url`."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """What a model sees."""

    takes: frozenset[Modality] | None = None
    """None: not known; then it is shown everything."""
    fetches: Fetches = field(default_factory=dict[Modality, tuple[str, ...]])
    """What its provider fetches itself."""

    def has(self, kind: str) -> bool:
        """Return whether it takes media of this kind."""
        return self.takes is None or kind in self.takes


EVERYTHING = Sight()


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where media is got from."""

    blobs: Blobs
    max_bytes: int
    """Of all media of one ask together, before base64."""
    web: Web | None = None
    """None: addresses in the web are left to the provider."""

    async def media(self, block: MediaBlock, where: str) -> Media:
        """Return the bytes of a block and what they are; `where` names the block to people.

        Raises:
            BodyInvalid: its base64 is broken, it is empty, or it is not what it says.
            MediaUnavailable, BlobNotFound: it cannot be had.
            BodyTooLarge: it is over the limit.
        """
        source = block.source
        if isinstance(source, Base64Source):
            self.check_size(len(source.data) * 3 // 4, where)
            data = await _aside(partial(_decoded, source.data, where), size=len(source.data))
        elif source.url.startswith(BLOB):
            self.check_size(source.size_bytes or 0, where)
            data = await self.blobs.load(source.url, digest=source.digest)
        elif self.web is not None:
            return _as_found(await self.web.fetch(source.url, max_bytes=self.max_bytes), block)
        else:
            raise MediaUnavailable(f"{where}: nothing is fetched from the web here", remedy="send the media itself")
        _check_kind(block, where)
        if (really := contradicts(data, source.media_type)) is not None:
            raise BodyInvalid(
                f"{where} is called {source.media_type}, but is {really}", remedy=f"say {really!r}, or send another one"
            )
        return Media(data, source.media_type)

    def check_size(self, size: int, what: str) -> None:
        """Return if so many bytes are not too many.

        Raises:
            BodyTooLarge: they are.
        """
        if size > self.max_bytes:
            raise BodyTooLarge(
                f"{what}: {size} bytes of media for the model, the limit is {self.max_bytes}",
                remedy="send smaller media, or raise MODEL_GATEWAY_MAX_MEDIA_BYTES",
            )


async def inlined(ask: Chat, shelf: Shelf, sight: Sight = EVERYTHING) -> Chat:
    """Return `ask` with all media inline that the model will see; files for its tools stay where they are.

    Media that a tool returned and the model does not take is mentioned instead.

    Raises:
        BodyTooLarge: together they are over the limit; if that was known before, nothing was loaded.
        BodyInvalid: one is broken, or not what it says.
        MediaUnavailable, BlobNotFound: one cannot be had.
    """
    if sight.takes is not None:
        ask = _mentioned(ask, sight)
    seen = {id(block): (block, _named(place, message, block)) for place, message, block in _seen(ask, sight)}
    if not seen:
        return ask
    shelf.check_size(sum(_size(block.source) for block, _ in seen.values()), "the conversation")
    sources: dict[str, Base64Source] = {}
    total = 0
    for block, where in seen.values():
        source = block.source
        if isinstance(source, URLSource) and (source.url in sources or _is_left(block, source.url, shelf, sight)):
            continue
        media = await shelf.media(block, where)
        total += len(media.data)
        shelf.check_size(total, "the conversation")
        if isinstance(source, URLSource):
            text = await _aside(partial(_encoded, media.data), size=len(media.data))
            sources[source.url] = Base64Source(data=text, media_type=media.media_type)
    if not sources:
        return ask
    messages = [each.model_copy(update={"content": _replaced(each.content, sources)}) for each in ask.messages]
    return ask.model_copy(update={"messages": messages})


def holds_media(ask: Chat) -> bool:
    """Return whether there is any media in a conversation."""
    return any(True for message in ask.messages for _ in _media(message.content))


def text_file(block: FileBlock) -> str | None:
    """Return the text of a small text file that is inline, else None."""
    if not isinstance(block.source, Base64Source) or not is_text(block.source.media_type):
        return None
    try:
        data = base64.b64decode(block.source.data, validate=True)
        return data.decode() if len(data) <= TEXT_BYTES else None
    except ValueError:
        return None


def is_text(media_type: str) -> bool:
    """Return whether media of this type is text that can be read out."""
    return media_type.startswith("text/") or media_type in ("application/json", "application/yaml")


def _seen(ask: Chat, sight: Sight) -> Iterator[tuple[int, Message, MediaBlock]]:
    for place, message in enumerate(ask.messages):
        for block in _media(message.content):
            if _is_seen(block, ask, sight):
                yield place, message, block


def _media(content: Iterable[ContentBlock]) -> Iterator[MediaBlock]:
    for block in content:
        if isinstance(block, ToolResultBlock):
            yield from _media(block.output)
        elif isinstance(block, MediaBlock):
            yield block


def _is_seen(block: MediaBlock, ask: Chat, sight: Sight) -> bool:
    source = block.source
    if isinstance(block, FileBlock):
        readable = not ask.tools and is_text(source.media_type) and _size(source) <= TEXT_BYTES
        return (source.media_type == PDF and sight.has("file")) or readable
    return sight.has(block.type)


def _is_left(block: MediaBlock, url: str, shelf: Shelf, sight: Sight) -> bool:
    """Return whether the provider gets the address alone."""
    if url.startswith(BLOB):
        return False
    return shelf.web is None or (url.startswith(sight.fetches.get(block.type, ())) and may_be_public(url))


def _size(source: URLSource | Base64Source) -> int:
    return len(source.data) * 3 // 4 if isinstance(source, Base64Source) else source.size_bytes or 0


def _as_found(found: Fetched, block: MediaBlock) -> Media:
    """Return what was fetched, as what it is; a page where a picture should be is none."""
    said = block.source.media_type
    kind = kind_of(found.data[:64]) or plain_kind(found.media_type or said)
    wanted = plain_kind(said)
    fits = kind.split("/")[0] == block.type if not isinstance(block, FileBlock) else kind == wanted or is_text(wanted)
    if not fits or kind == "text/html" != wanted:
        raise MediaUnavailable(
            f"at the address of the {block.type} lies {kind}, not {said}", remedy="name the address of the media itself"
        )
    return Media(found.data, kind)


def _check_kind(block: MediaBlock, where: str) -> None:
    """Return if what a block says of its media may be of its kind: a page is no picture."""
    kind = plain_kind(block.source.media_type).split("/")[0]
    if not isinstance(block, FileBlock) and kind not in (block.type, "application"):
        raise BodyInvalid(
            f"{where} is called {block.source.media_type}, which is no {block.type}",
            remedy="say what it is, or send it as a file",
        )


def _decoded(data: str, where: str) -> bytes:
    try:
        found = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise BodyInvalid(f"{where} is no base64: {error}", remedy="encode it by RFC 4648, section 4") from None
    if not found:
        raise BodyInvalid(f"{where} is empty", remedy="leave it out")
    return found


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def _aside(work: Callable[[], T], *, size: int) -> T:
    return await asyncio.to_thread(work) if size > SMALL else work()


def _named(place: int, message: Message, block: MediaBlock) -> str:
    return f"the {block.type} in message {place} ({message.role} {message.name!r})"


def _mentioned(ask: Chat, sight: Sight) -> Chat:
    """Return `ask` with a word in the place of media in results that the model does not take."""
    results = (block for each in ask.messages for block in each.content if isinstance(block, ToolResultBlock))
    if all(sight.has(block.type) for result in results for block in _media(result.output)):
        return ask
    messages = [each.model_copy(update={"content": [_told(b, sight) for b in each.content]}) for each in ask.messages]
    return ask.model_copy(update={"messages": messages})


def _told(block: ContentBlock, sight: Sight) -> ContentBlock:
    if not isinstance(block, ToolResultBlock):
        return block
    output = [
        TextBlock(text=f"[{part.type} ({part.source.media_type}): left out, the model takes none]")
        if isinstance(part, MediaBlock) and not isinstance(part, FileBlock) and not sight.has(part.type)
        else part
        for part in block.output
    ]
    return block.model_copy(update={"output": output})


def _replaced(content: list[ContentBlock], sources: dict[str, Base64Source]) -> list[ContentBlock]:
    out: list[ContentBlock] = []
    for block in content:
        if isinstance(block, ToolResultBlock):
            out.append(block.model_copy(update={"output": _replaced(block.output, sources)}))
        elif isinstance(block, MediaBlock) and isinstance(block.source, URLSource) and block.source.url in sources:
            out.append(block.model_copy(update={"source": sources[block.source.url]}))
        else:
            out.append(block)
    return out

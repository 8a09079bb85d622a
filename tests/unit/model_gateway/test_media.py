"""Bringing media to where a provider can see it."""

import base64
from dataclasses import dataclass

import pytest

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ToolResultBlock,
    URLSource,
)
from natscope.contracts.errors import BlobNotFound, BodyInvalid, BodyTooLarge, MediaUnavailable
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from natscope.contracts.tool import ToolSpec
from services.model_gateway.media import Shelf, Sight, inlined
from tests.unit.model_gateway.fakes import FakeBlobs

LIMIT = 1000
TOOL = ToolSpec(name="look", description="Looks.", parameters={})


def _blob(name: str, media_type: str, size: int = 3) -> URLSource:
    return URLSource(url=f"nats://blob/blobs/{name}", media_type=media_type, size_bytes=size)


def _ask(*blocks: ContentBlock, tools: bool = False) -> Chat:
    said = Message(name="user", role="user", content=list(blocks))
    return Chat(model="m", messages=[said], tools=[TOOL] if tools else [])


class TestInlined:
    async def test_a_blob_the_model_will_see_is_put_inline(self) -> None:
        ask = await inlined(_ask(ImageBlock(source=_blob("a", "image/png"))), Shelf(FakeBlobs(a=b"png"), LIMIT))
        expected = Base64Source(data=base64.b64encode(b"png").decode(), media_type="image/png")
        assert ask.messages[0].content == [ImageBlock(source=expected)]

    async def test_media_in_results_too(self) -> None:
        result = ToolResultBlock(id="1", name="look", output=[ImageBlock(source=_blob("a", "image/png"))])
        ask = await inlined(_ask(result), Shelf(FakeBlobs(a=b"png"), LIMIT))
        inner = ask.messages[0].content[0]
        assert isinstance(inner, ToolResultBlock)
        assert isinstance(inner.output[0], ImageBlock)
        assert isinstance(inner.output[0].source, Base64Source)

    async def test_a_blob_that_is_shown_twice_is_loaded_once(self) -> None:
        blobs = FakeBlobs(a=b"png")
        image = ImageBlock(source=_blob("a", "image/png"))
        await inlined(_ask(image, image), Shelf(blobs, LIMIT))
        assert len(blobs.loaded) == 1

    @pytest.mark.parametrize(
        "block",
        [
            FileBlock(name="a.csv", source=_blob("a", "text/csv")),
            FileBlock(name="a.bin", source=_blob("a", "application/octet-stream")),
            ImageBlock(source=URLSource(url="https://example.org/a.png", media_type="image/png")),
            ImageBlock(source=Base64Source(data="AAAA", media_type="image/png")),
        ],
    )
    async def test_what_the_model_does_not_see_or_fetches_itself_stays_where_it_is(self, block: ContentBlock) -> None:
        blobs = FakeBlobs(a=b"abc")
        ask = _ask(block, tools=True)
        assert await inlined(ask, Shelf(blobs, LIMIT)) is ask
        assert blobs.loaded == []

    async def test_a_text_file_is_loaded_for_a_model_without_tools(self) -> None:
        ask = _ask(FileBlock(name="a.csv", source=_blob("a", "text/csv")))
        file = (await inlined(ask, Shelf(FakeBlobs(a=b"a,b"), LIMIT))).messages[0].content[0]
        assert isinstance(file, FileBlock)
        assert isinstance(file.source, Base64Source)

    async def test_too_much_is_refused_before_anything_is_loaded(self) -> None:
        blobs = FakeBlobs(a=b"png")
        with pytest.raises(BodyTooLarge, match="1001 bytes"):
            await inlined(_ask(ImageBlock(source=_blob("a", "image/png", LIMIT + 1))), Shelf(blobs, LIMIT))
        assert blobs.loaded == []

    async def test_a_blob_that_is_gone_is_named(self) -> None:
        with pytest.raises(BlobNotFound, match="nats://blob/blobs/a"):
            await inlined(_ask(ImageBlock(source=_blob("a", "image/png"))), Shelf(FakeBlobs(), LIMIT))

    async def test_what_the_model_does_not_take_is_not_loaded(self) -> None:
        blobs = FakeBlobs(a=b"png")
        ask = _ask(ImageBlock(source=_blob("a", "image/png")))
        assert await inlined(ask, Shelf(blobs, LIMIT), Sight(frozenset({"text"}))) is ask
        assert blobs.loaded == []

    async def test_what_a_tool_returned_and_the_model_does_not_take_is_mentioned(self) -> None:
        result = ToolResultBlock(id="1", name="look", output=[ImageBlock(source=_blob("a", "image/png"))])
        ask = await inlined(_ask(result), Shelf(FakeBlobs(), LIMIT), Sight(frozenset({"text"})))
        inner = ask.messages[0].content[0]
        assert isinstance(inner, ToolResultBlock)
        assert inner.output == [TextBlock(text="[image (image/png): left out, the model takes none]")]

    async def test_media_of_many_blocks_counts_together_once_it_is_loaded(self) -> None:
        blobs = FakeBlobs(a=b"x" * 600, b=b"x" * 600)
        sizeless = [URLSource(url=f"nats://blob/blobs/{name}", media_type="image/png") for name in "ab"]
        with pytest.raises(BodyTooLarge, match="1200 bytes"):
            await inlined(_ask(*(ImageBlock(source=source) for source in sizeless)), Shelf(blobs, LIMIT))

    @pytest.mark.parametrize(
        ("data", "reason"),
        [("%%%%", "no base64"), ("AAA", "no base64"), ("AA\nAA", "no base64"), ("", "is empty")],
    )
    async def test_broken_base64_is_named(self, data: str, reason: str) -> None:
        image = ImageBlock(source=Base64Source(data=data, media_type="image/png"))
        with pytest.raises(BodyInvalid, match=rf"image in message 0 .*{reason}"):
            await inlined(_ask(image), Shelf(FakeBlobs(), LIMIT))

    @pytest.mark.parametrize(
        ("data", "called", "really"),
        [
            (b"\x89PNG\r\n\x1a\n", "image/jpeg", "image/png"),
            (b"\xff\xd8\xff\xe0", "image/png", "image/jpeg"),
            (b"GIF89a", "image/png", "image/gif"),
            (b"%PDF-1.7", "image/png", "application/pdf"),
            (b"<!DOCTYPE html>", "image/png", "text/html"),
            (b"RIFF....WAVE", "audio/mpeg", "audio/wav"),
        ],
    )
    async def test_what_is_not_what_it_says_is_named(self, data: bytes, called: str, really: str) -> None:
        source = Base64Source(data=base64.b64encode(data).decode(), media_type=called)
        block = ImageBlock(source=source) if called.startswith("image") else AudioBlock(source=source)
        with pytest.raises(BodyInvalid, match=f"called {called}, but is {really}"):
            await inlined(_ask(block), Shelf(FakeBlobs(), LIMIT))

    @pytest.mark.parametrize(
        ("data", "called"),
        [
            (b"\xff\xd8\xff\xe0", "image/jpg"),
            (b"RIFF....WAVE", "audio/x-wav"),
            (b"anything", "image/png"),
            (b"GIF89a", "image/*"),
        ],
    )
    async def test_what_goes_by_another_name_or_cannot_be_told_passes(self, data: bytes, called: str) -> None:
        source = Base64Source(data=base64.b64encode(data).decode(), media_type=called)
        ask = _ask(ImageBlock(source=source) if called.startswith("image") else AudioBlock(source=source))
        assert await inlined(ask, Shelf(FakeBlobs(), LIMIT)) is ask


@dataclass(frozen=True)
class Found:
    """What lies at every address."""

    data: bytes = b"\xff\xd8\xff jpeg"
    media_type: str | None = None


class FakeWeb:
    """The same at every address; counts who looks."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self.asked: list[str] = []

    async def fetch(self, url: str, *, max_bytes: int) -> Found:
        self.asked.append(url)
        return self._found


class TestTheWeb:
    async def test_an_address_is_fetched_once_and_put_inline_as_what_it_is(self) -> None:
        web = FakeWeb(Found())
        image = ImageBlock(source=URLSource(url="https://a.example/1", media_type="image/png"))
        ask = await inlined(_ask(image, image), Shelf(FakeBlobs(), LIMIT, web))
        first = ask.messages[0].content[0]
        assert isinstance(first, ImageBlock)
        assert first.source.media_type == "image/jpeg"
        assert isinstance(first.source, Base64Source)
        assert web.asked == ["https://a.example/1"]

    async def test_an_address_that_the_provider_fetches_is_left_to_it(self) -> None:
        web = FakeWeb(Found())
        ask = _ask(ImageBlock(source=URLSource(url="https://a.com/1", media_type="image/png")))
        assert await inlined(ask, Shelf(FakeBlobs(), LIMIT, web), Sight(fetches={"image": ("https://",)})) is ask
        assert web.asked == []

    async def test_one_that_it_does_not_fetch_for_media_of_this_kind_or_cannot_reach_is_not(self) -> None:
        web = FakeWeb(Found())
        sight = Sight(fetches={"file": ("https://a.com/",), "image": ("https://",)})
        urls = ["https://127.0.0.1/1", "https://shop.local/1"]
        asked = [ImageBlock(source=URLSource(url=url, media_type="image/png")) for url in urls]
        await inlined(_ask(*asked), Shelf(FakeBlobs(), LIMIT, web), sight)
        only_files = Sight(fetches={"file": ("https://a.com/",)})
        image = ImageBlock(source=URLSource(url="https://a.com/1", media_type="image/png"))
        await inlined(_ask(image), Shelf(FakeBlobs(), LIMIT, web), only_files)
        assert web.asked == [*urls, "https://a.com/1"]

    @pytest.mark.parametrize(
        "found", [Found(b"<html>", "image/png"), Found(b"{}", "application/json"), Found(b"ID3", None)]
    )
    async def test_what_is_no_picture_is_none(self, found: Found) -> None:
        ask = _ask(ImageBlock(source=URLSource(url="https://a.example/1", media_type="image/png")))
        with pytest.raises(MediaUnavailable, match="not image/png"):
            await inlined(ask, Shelf(FakeBlobs(), LIMIT, FakeWeb(found)))

    async def test_a_document_is_fetched_for_the_model_and_a_table_is_left_to_its_tools(self) -> None:
        web = FakeWeb(Found(b"%PDF-1.7", "application/pdf"))
        report = FileBlock(name="a.pdf", source=URLSource(url="https://a.example/a.pdf", media_type="application/pdf"))
        table = FileBlock(name="a.csv", source=URLSource(url="https://a.example/a.csv", media_type="text/csv"))
        await inlined(_ask(report, table, tools=True), Shelf(FakeBlobs(), LIMIT, web))
        assert web.asked == ["https://a.example/a.pdf"]

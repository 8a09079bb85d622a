"""Bringing media to where a provider can see it."""

import base64

import pytest

from natscope.contracts.blocks import (
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    ToolResultBlock,
    URLSource,
)
from natscope.contracts.errors import BlobNotFound, BodyTooLarge
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from natscope.contracts.tool import ToolSpec
from services.model_gateway.media import Shelf, inlined
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

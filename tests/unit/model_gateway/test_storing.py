"""Putting large media of an answer into the blob store."""

import base64

from natscope.contracts.blocks import AudioBlock, Base64Source, ContentBlock, ImageBlock, TextBlock, URLSource
from services.model_gateway.storing import INLINE_BYTES, stored


class _Store:
    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def source(self, data: bytes, media_type: str) -> URLSource | Base64Source:
        self.kept.append(data)
        return URLSource(url=f"nats://blob/blobs/{len(self.kept)}", media_type=media_type)


def _base64(data: bytes, media_type: str) -> Base64Source:
    return Base64Source(data=base64.b64encode(data).decode(), media_type=media_type)


class TestStored:
    async def test_large_media_goes_by_reference_and_all_else_stays_as_it_is(self) -> None:
        large, small = b"x" * (INLINE_BYTES + 1), b"x" * INLINE_BYTES
        link = URLSource(url="https://example.com/a.png", media_type="image/png")
        rest: list[ContentBlock] = [
            TextBlock(text="Here."), ImageBlock(source=_base64(small, "image/png")), ImageBlock(source=link),
        ]  # fmt: skip
        store = _Store()
        picture, sound = ImageBlock(source=_base64(large, "image/png")), AudioBlock(source=_base64(large, "audio/wav"))
        assert await stored([*rest, picture, sound], store) == [
            *rest,
            ImageBlock(source=URLSource(url="nats://blob/blobs/1", media_type="image/png")),
            AudioBlock(source=URLSource(url="nats://blob/blobs/2", media_type="audio/wav")),
        ]
        assert store.kept == [large, large]

    async def test_an_answer_without_large_media_is_not_touched(self) -> None:
        content: list[ContentBlock] = [TextBlock(text="Yes.")]
        assert await stored(content, _Store()) is content

    async def test_media_that_is_no_base64_is_said_to_be_unreadable(self) -> None:
        broken = ImageBlock(source=Base64Source(data="?" * 2 * INLINE_BYTES, media_type="image/png"))
        assert await stored([broken], _Store()) == [TextBlock(text="[image (image/png): its data cannot be read]")]

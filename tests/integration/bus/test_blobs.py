"""Blobs: heavy bytes by reference."""

import pytest

from natscope.bus import BusSettings, connect
from natscope.bus.blobs import BODIES, split
from natscope.bus.envelope import CLAIM, DIGEST, Headers
from natscope.contracts.blocks import Base64Source, FileBlock, URLSource
from natscope.contracts.errors import BlobNotFound, BodyInvalid

KIB = 1024


class TestBlobs:
    @pytest.mark.parametrize(("size", "kind"), [(64 * KIB, Base64Source), (64 * KIB + 1, URLSource)])
    async def test_media_up_to_64_kib_travels_inline_and_above_by_reference(
        self, nats_url: str, size: int, kind: type[Base64Source] | type[URLSource]
    ) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            data = bytes(n % 251 for n in range(size))
            source = await bus.blobs.source(data, "application/octet-stream")
            assert isinstance(source, kind)
            assert await bus.blobs.bytes_of(FileBlock(name="x.bin", source=source)) == data

    async def test_a_reference_has_size_and_digest(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            source = await bus.blobs.store(b"x" * 100_000, "text/plain")
            assert source.size_bytes == 100_000
            assert source.digest is not None
            assert source.digest.startswith("SHA-256=")

    async def test_one_that_is_gone_says_what_to_do(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            with pytest.raises(BlobNotFound, match="submit the file again"):
                await bus.blobs.load("nats://blob/blobs/never-was")

    async def test_one_that_is_not_what_was_referenced_is_refused(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            source = await bus.blobs.store(b"x" * 10, "text/plain")
            with pytest.raises(BlobNotFound, match="digest"):
                await bus.blobs.load(source.url, digest="SHA-256=AAAA")

    @pytest.mark.parametrize(
        "url", ["https://example.org/x", "nats://blob/", "nats://other/blobs/x", "file:///etc/passwd"]
    )
    async def test_anything_else_is_no_blob(self, nats_url: str, url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            with pytest.raises(BodyInvalid, match="no blob"):
                await bus.blobs.load(url)


class TestALargeBody:
    async def test_travels_by_reference_and_arrives_as_it_was_sent(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            headers: Headers = {}
            assert await bus.envelope.pack(b"x" * 300_000, headers) == b""
            assert await bus.envelope.unpack(b"", headers) == b"x" * 300_000

    async def test_that_was_rewritten_in_the_store_is_refused(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            headers: Headers = {}
            await bus.envelope.pack(b"x" * 300_000, headers)
            await (await bus.js.object_store(BODIES)).put(split(headers[CLAIM])[1], b"forged")
            with pytest.raises(BlobNotFound, match="digest"):
                await bus.envelope.unpack(b"", headers)

    async def test_without_a_digest_is_refused(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            headers: Headers = {}
            await bus.envelope.pack(b"x" * 300_000, headers)
            del headers[DIGEST]
            with pytest.raises(BodyInvalid, match="digest"):
                await bus.envelope.unpack(b"", headers)

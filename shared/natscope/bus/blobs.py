"""Heavy bytes: stored once in the object store, and passed by reference."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import base64
from io import BytesIO
from urllib.parse import urlsplit

from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.object_store import ObjectStore

from natscope.contracts.blocks import Base64Source, FileBlock, MediaBlock, URLSource
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BlobNotFound, BodyInvalid

MEDIA = "blobs"
"""Bucket of media that messages refer to."""
BODIES = "bodies"
"""Bucket of message bodies that are too large to travel."""
INLINE_BYTES = 64 << 10
"""Media above this is stored and referenced (64 KiB)."""


class Blobs:
    """The object store, as far as natscope uses it."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._buckets: dict[str, ObjectStore] = {}

    async def store(self, data: bytes, media_type: str, *, bucket: str = MEDIA, name: str | None = None) -> URLSource:
        """Store `data` and return the reference to it. What is there under `name` already is not stored again."""
        store = await self._bucket(bucket)
        try:
            info = await store.get_info(name) if name else None
        except (js_errors.NotFoundError, js_errors.ObjectNotFoundError):
            info = None
        name = name or new_id()
        info = info or await store.put(name, data)
        return URLSource(
            url=f"nats://blob/{bucket}/{name}", media_type=media_type, digest=info.digest, size_bytes=len(data)
        )

    async def load(self, url: str, *, digest: str | None = None) -> bytes:
        """Return the bytes behind a `nats://blob/…` reference; the store's own digest is checked while reading.

        Raises:
            BodyInvalid: `url` is no such reference.
            BlobNotFound: nothing is there (any more), or it is not what `digest` says.
        """
        (bucket, name), whole = split(url), BytesIO()
        try:
            # nats-py itself would copy all there is for each piece that comes
            found = await (await self._bucket(bucket)).get(name, writeinto=whole)
        except (js_errors.NotFoundError, js_errors.ObjectNotFoundError, js_errors.ObjectDeletedError) as error:
            raise BlobNotFound(f"blob {url!r} is gone", remedy="submit the file again") from error
        if digest is not None and found.info.digest != digest:
            raise BlobNotFound(f"blob {url!r} is not what was referenced: its digest differs")
        return found.data or whole.getvalue()

    async def source(self, data: bytes, media_type: str, *, name: str | None = None) -> URLSource | Base64Source:
        """Return `data` as a source for a media block: inline up to 64 KiB, stored above (see `store`)."""
        if len(data) > INLINE_BYTES:
            return await self.store(data, media_type, name=name)
        return Base64Source(data=base64.b64encode(data).decode(), media_type=media_type)

    async def bytes_of(self, block: MediaBlock | FileBlock) -> bytes:
        """Return the bytes of a media block, wherever they are.

        Raises:
            BlobNotFound: the blob is gone.
            BodyInvalid: the source is neither inline nor a blob of ours, or its base64 is broken.
        """
        if isinstance(block.source, URLSource):
            return await self.load(block.source.url, digest=block.source.digest)
        try:
            return base64.b64decode(block.source.data, validate=True)
        except ValueError as error:
            raise BodyInvalid(f"the {block.type} block's data is not base64: {error}") from error

    async def _bucket(self, name: str) -> ObjectStore:
        found = self._buckets.get(name)
        if found is None:
            try:
                found = self._buckets[name] = await self._js.object_store(name)
            except (js_errors.NotFoundError, js_errors.BucketNotFoundError) as error:
                raise BlobNotFound(f"there is no bucket {name!r}", remedy="provision the streams") from error
        return found


def split(url: str) -> tuple[str, str]:
    """Return bucket and name of a blob's reference.

    Raises:
        BodyInvalid: it is not of the form `nats://blob/<bucket>/<name>`.
    """
    parts = urlsplit(url)
    bucket, _, name = parts.path.lstrip("/").partition("/")
    if parts.scheme != "nats" or parts.netloc != "blob" or not bucket or not name:
        raise BodyInvalid(f"{url!r} is no blob", remedy="a blob is nats://blob/<bucket>/<name>")
    return bucket, name

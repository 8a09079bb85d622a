"""Bodies of log entries that are too large for a message: kept in the object store for as long as their entry."""

# nats-py leaves headers and the object store untyped.
# pyright: reportUnknownMemberType=false

import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.blobs import split
from natscope.bus.envelope import CLAIM, DIGEST, Headers
from natscope.contracts.errors import BusUnavailable

log = logging.getLogger(__name__)

INLINE_BYTES = 960 << 10
"""Largest body that travels in its entry (960 KiB): NATS's own limit is 1 MiB with headers."""


class Bodies:
    """Bodies in one bucket, which forgets nothing by itself."""

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self._bucket = bucket

    async def put(self, data: bytes, headers: Headers) -> bytes:
        """Return the bytes to publish; what does not fit is stored and `headers` refers to it.

        Raises:
            BusUnavailable: it could not be stored.
        """
        if len(data) <= INLINE_BYTES:
            return data
        async with self._answering():
            stored = await self._bus.blobs.store(data, "application/json", bucket=self._bucket)
        headers[CLAIM], headers[DIGEST] = stored.url, stored.digest or ""
        return b""

    async def drop(self, headers: Mapping[str, str]) -> None:
        """Remove the body that `headers` refer to; what cannot be removed now stays, unreferenced."""
        claim = headers.get(CLAIM)
        bucket, name = split(claim) if claim else ("", "")
        if bucket != self._bucket:
            return
        try:
            store = await self._bus.js.object_store(bucket)
            with contextlib.suppress(js_errors.NotFoundError):
                await store.delete(name)
        except (nats_errors.Error, js_errors.Error) as error:
            log.warning("a body was not removed", extra={"body": name, "reason": repr(error)})

    async def get(self, headers: Mapping[str, str]) -> bytes:
        """Return the body that `headers` refer to, whichever bucket it is in.

        Raises:
            BlobNotFound, BodyInvalid: it is gone, not what was stored, or `headers` do not say what that was.
            BusUnavailable: it cannot be read now.
        """
        async with self._answering():
            return await self._bus.envelope.unpack(b"", headers)

    @asynccontextmanager
    async def _answering(self) -> AsyncGenerator[None]:
        try:
            yield
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"the object store does not answer: {error!r}", remedy="is the server up?") from error

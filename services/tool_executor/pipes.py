"""The two kinds of pipe to a worker: a child process's streams, and an attached container's socket."""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable

log = logging.getLogger(__name__)

_READ = 256 << 10
_HEADER = struct.Struct(">BxxxI")
_STDOUT = 1

Complain = Callable[[bytes], None]


def _log_complaint(data: bytes) -> None:
    log.warning("worker complained", extra={"text": data.decode("utf-8", "replace")[:2000]})


class StreamPipe:
    """Plain streams, as a child process has them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """Return what has arrived; empty once the other side is gone."""
        return await self._reader.read(_READ)

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._writer.write(data)
        except RuntimeError as error:  # uvloop's word for what asyncio takes in silence: the transport is closed
            raise ConnectionResetError("the pipe is closed") from error
        await self._writer.drain()

    def end(self) -> None:
        """Close the way there: the other side reads to its end."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write_eof()

    def abort(self) -> None:
        """Close both directions at once, whatever is still on its way; who reads comes to the end."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close both directions."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class AttachedPipe(StreamPipe):
    """An engine's attach stream, where standard output and error come in one, told apart by a header.

    Source: Docker Engine API, POST /containers/{id}/attach, "Stream format".
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, complain: Complain = _log_complaint
    ) -> None:
        """`complain` hears what comes on standard error."""
        super().__init__(reader, writer)
        self._buffer = bytearray()
        self._complain = complain

    async def read(self) -> bytes:
        """Return standard output as it arrives."""
        while True:
            out = self._split()
            if out:
                return out
            data = await super().read()
            if not data:
                return b""
            self._buffer += data

    def _split(self) -> bytes:
        out = bytearray()
        while len(self._buffer) >= _HEADER.size:
            stream, size = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + size
            if len(self._buffer) < end:
                break
            data = self._buffer[_HEADER.size : end]
            del self._buffer[:end]
            if stream == _STDOUT:
                out += data
            else:
                self._complain(bytes(data))
        return bytes(out)

"""Cut the control stream into frames: a length, a JSON header, and bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

MAX_FRAME = 2 * 1024 * 1024
"""Bytes of one frame, its length field excluded."""

Header = dict[str, Any]
Frame = tuple[Header, bytes]

_PREFIX = struct.Struct("!IH")
_write = json.JSONEncoder(separators=(",", ":")).encode
_read = json.JSONDecoder().decode


class BadFrame(Exception):
    """The peer sent something that is no frame; the stream cannot be trusted any more."""


def encode(header: Header, payload: bytes = b"") -> bytes:
    """Return the bytes of one frame."""
    head = _write(header).encode()
    size = 2 + len(head) + len(payload)
    if size > MAX_FRAME:
        raise BadFrame(f"a frame of {size} bytes is over the limit of {MAX_FRAME}")
    return _PREFIX.pack(size, len(head)) + head + payload


class FrameReader:
    """Collects bytes as they arrive and gives back whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take `data` in and return every frame that is now complete."""
        self._buffer += data
        frames: list[Frame] = []
        while True:
            frame = self._next()
            if frame is None:
                return frames
            frames.append(frame)

    def _next(self) -> Frame | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        size, head_size = _PREFIX.unpack_from(self._buffer)
        if size > MAX_FRAME or head_size + 2 > size:
            raise BadFrame(f"a frame claims {size} bytes with a header of {head_size}")
        end = 4 + size
        if len(self._buffer) < end:
            return None
        header = _header(bytes(self._buffer[6 : 6 + head_size]))
        payload = bytes(self._buffer[6 + head_size : end])
        del self._buffer[:end]
        return header, payload


def _header(raw: bytes) -> Header:
    try:
        header = _read(raw.decode())
    except ValueError as error:
        raise BadFrame("a frame's header is not JSON") from error
    if not isinstance(header, dict):
        raise BadFrame("a frame's header is not an object")
    return header

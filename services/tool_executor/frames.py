"""The executor's end of the frame format that the worker in a cell speaks (sandbox/worker/frames.py)."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_FRAME = 2 << 20
MAX_HEADER = 0xFFFF
_PREFIX = struct.Struct("!IH")
_write = json.JSONEncoder(separators=(",", ":")).encode
_read = json.JSONDecoder().decode


class BadFrame(Exception):
    """The cell sent something that is no frame; nothing it says can be trusted any more."""


@dataclass(frozen=True)
class Frame:
    """A header and its bytes."""

    header: Mapping[str, Any]
    payload: bytes = b""

    @property
    def event(self) -> str:
        """What the worker says, e.g. `output`."""
        return str(self.header.get("event", ""))


def encode(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """Return the bytes of one frame.

    Raises:
        BadFrame: it is over the limit of 2 MiB, or its header over that of 64 KiB.
    """
    head = _write(header).encode()
    size = 2 + len(head) + len(payload)
    if len(head) > MAX_HEADER:
        raise BadFrame(f"a header of {len(head)} bytes is over the limit of {MAX_HEADER}")
    if size > MAX_FRAME:
        raise BadFrame(f"a frame of {size} bytes is over the limit of {MAX_FRAME}")
    return _PREFIX.pack(size, len(head)) + head + payload


class FrameReader:
    """Collects bytes as they arrive and gives back whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take `data` in and return every frame that is now complete.

        Raises:
            BadFrame: what came is no frame.
        """
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        size, head_size = _PREFIX.unpack_from(self._buffer)
        if size > MAX_FRAME or head_size + 2 > size:
            raise BadFrame(f"a frame claims {size} bytes with a header of {head_size}")
        if len(self._buffer) < 4 + size:
            return None
        head, payload = bytes(self._buffer[6 : 6 + head_size]), bytes(self._buffer[6 + head_size : 4 + size])
        del self._buffer[: 4 + size]
        return Frame(_header(head), payload)


def _header(raw: bytes) -> Mapping[str, Any]:
    try:
        header = _read(raw.decode())
    except ValueError as error:
        raise BadFrame("a frame's header is not JSON") from error
    if not isinstance(header, dict):
        raise BadFrame("a frame's header is not an object")
    return header

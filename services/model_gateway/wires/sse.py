"""Splits a byte stream into server-sent events."""

import re
from codecs import BOM_UTF8

_UNKNOWN = re.compile(rb"^(?!data:|event:|id:|retry:|:)[^\n<]*\{", re.M)
"""A line of no known name that may have been one of data."""


class Splitter:
    """Feed it bytes as they come, cut anywhere; it returns the data of each event that is whole.

    Lines may end in LF, CR LF or CR. Comments, names and ids of events are passed over, several data lines are joined.
    Bare JSON in the place of an event is taken for one: that is how some servers tell in mid-stream what went wrong. So
    is a line whose name is garbled: as JSON it is nothing, but it is not lost in silence. A byte order mark is no part.
    Source: WHATWG HTML, section 9.2.6, https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self) -> None:
        self._rest = b""
        self._began = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that `data` completes."""
        data = self._rest + data
        if not self._began:
            if BOM_UTF8.startswith(data):
                self._rest = data
                return []
            self._began = True
            data = data.removeprefix(BOM_UTF8)
        tail = b""
        if b"\r" in data:
            if data.endswith(b"\r"):
                data, tail = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, rest = data.split(b"\n\n")
        self._rest = rest + tail
        return [found for event in whole if (found := _data(event)) is not None]

    def end(self) -> list[bytes]:
        """Return the data of a last event that was not closed by an empty line."""
        return self.feed(b"\n\n")


def _data(event: bytes) -> bytes | None:
    name, _, data = event.rpartition(b"\n")
    if data.startswith(b"data: ") and (not name or (name.startswith(b"event:") and b"\n" not in name)):
        return data[6:]
    event = event.lstrip(b"\n")
    if event.startswith((b"{", b"[")):
        return event
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    if lines:
        return b"\n".join(lines)
    return event if _UNKNOWN.search(event) else None

"""Connections that programs make to a port of the cell's own, carried over the control stream by the worker.

The cell has no network: what is said here comes to the executor in frames, and the executor decides where it goes.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

Send = Callable[..., None]

MOST = 16
"""Connections at a time; those beyond are closed at once."""
CHUNK = 65536


class _Tunnel:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.may_send = True
        self.rest = b""
        """What the program has not taken yet."""
        self.ends = False


class Tunnels:
    """A listening socket and the connections that were made to it. Each side waits until the other took its chunk."""

    def __init__(self, port: int, send: Send) -> None:
        self._send = send
        self._open: dict[int, _Tunnel] = {}
        self._numbers: dict[int, int] = {}
        self._last = 0
        self._listening = socket.create_server(("127.0.0.1", port), backlog=MOST)
        self._listening.setblocking(False)

    def waiting(self) -> list[tuple[int, bool, bool]]:
        """Return each descriptor, whether it is waited for to be read, and whether to be written to."""
        found = [(self._listening.fileno(), True, False)]
        found += [(each.connection.fileno(), each.may_send, bool(each.rest)) for each in self._open.values()]
        return [each for each in found if each[1] or each[2]]

    def turn(self, descriptor: int) -> bool:
        """Do what can be done with a descriptor that is ready; return whether it is one of these."""
        if descriptor == self._listening.fileno():
            self._accept()
            return True
        number = self._numbers.get(descriptor)
        if number is None:
            return False
        with self._ending_if_broken(number):
            self._pass(number)
            self._fetch(number)
        return True

    def take(self, header: dict[str, Any], payload: bytes) -> None:
        """Take in what the executor says of a connection: `data`, `more` (it took ours), or `end`."""
        number = int(header["id"])
        tunnel = self._open.get(number)
        if tunnel is None:
            return
        if header["what"] == "more":
            tunnel.may_send = True
            return
        tunnel.rest += payload
        tunnel.ends = tunnel.ends or header["what"] == "end"
        with self._ending_if_broken(number):
            self._pass(number)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            if len(self._open) >= MOST:
                connection.close()
                return
            connection.setblocking(False)
            self._last += 1
            self._open[self._last] = _Tunnel(connection)
            self._numbers[connection.fileno()] = self._last
            self._tell(self._last, "open")

    def _fetch(self, number: int) -> None:
        tunnel = self._open.get(number)
        if tunnel is None or not tunnel.may_send:
            return
        try:
            data = tunnel.connection.recv(CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._end(number)
            return
        tunnel.may_send = False
        self._tell(number, "data", data)

    def _pass(self, number: int) -> None:
        tunnel = self._open[number]
        if tunnel.rest:
            try:
                sent = tunnel.connection.send(tunnel.rest)
            except BlockingIOError:
                return
            tunnel.rest = tunnel.rest[sent:]
            if not tunnel.rest:
                self._tell(number, "more")
        if tunnel.ends and not tunnel.rest:
            self._end(number)

    @contextlib.contextmanager
    def _ending_if_broken(self, number: int) -> Any:
        try:
            yield
        except OSError:
            self._end(number)

    def _end(self, number: int) -> None:
        tunnel = self._open.pop(number)
        del self._numbers[tunnel.connection.fileno()]
        tunnel.connection.close()
        self._tell(number, "end")

    def _tell(self, number: int, what: str, payload: bytes = b"") -> None:
        self._send({"event": "tunnel", "id": number, "what": what}, payload)

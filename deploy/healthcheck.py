"""Asks this container's service over NATS whether it is alive: exit code 0 is yes, 1 is no (and says why).

Standard library only, because it is started every few seconds: importing a NATS client costs 25 times as much.
Source: NATS client protocol, https://docs.nats.io/reference/reference-protocols/nats-protocol; ADR-32 for `$SRV.PING`.
"""

import json
import os
import socket
import ssl
import sys
from typing import BinaryIO
from urllib.parse import urlsplit

PATIENCE_S = 3.0


def main() -> int:
    """Returns the exit code after asking the first server of `NATS_URL` that answers."""
    service = os.environ["SERVICE"]
    servers = os.environ.get("NATS_URL", "nats://nats:4222").split(",")
    reason = "no server"
    for server in servers:
        try:
            return ask(server, service)
        except (OSError, ValueError) as error:
            reason = f"{server_name(server)}: {error}"
    sys.stderr.write(f"{service} is unhealthy: {reason}\n")
    return 1


def ask(server: str, service: str) -> int:
    """Returns 0 once a replica running in this container answered its ping.

    Raises:
        OSError: the server or the service did not answer in time.
        ValueError: the server refused, or spoke something else than NATS.
    """
    place = urlsplit(server)
    with socket.create_connection((place.hostname or "127.0.0.1", place.port or 4222), PATIENCE_S) as plain:
        info = json.loads(plain.makefile("rb", buffering=0).readline().removeprefix(b"INFO "))
        wire = secured(plain, place.hostname) if info.get("tls_required") else plain
        user = os.environ.get("NATS_USER", place.username or "")
        inbox = f"_INBOX.{user or 'guest'}.health{os.getpid()}"
        wire.sendall(greeting(user, os.environ.get("NATS_PASSWORD", place.password or "")))
        wire.sendall(f"SUB {inbox} 1\r\nPUB $SRV.PING.{service} {inbox} 0\r\n\r\n".encode())
        await_own_pong(wire.makefile("rb"))
    return 0


def greeting(user: str, password: str) -> bytes:
    """Returns the CONNECT line; without a user the server takes us for a guest."""
    options: dict[str, object] = {"verbose": False, "name": "healthcheck", "headers": True, "no_responders": True}
    if user:
        options |= {"user": user, "pass": password}
    return f"CONNECT {json.dumps(options)}\r\n".encode()


def secured(plain: socket.socket, host: str | None) -> ssl.SSLSocket:
    """Returns the connection under TLS, verified against the machine's certificates (or `SSL_CERT_FILE`)."""
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def await_own_pong(lines: BinaryIO) -> None:
    """Returns when a service in this container answered; other replicas' answers are passed over."""
    for line in lines:
        if line.startswith(b"-ERR"):
            raise ValueError(line.decode().strip())
        if line.startswith((b"MSG", b"HMSG")) and answers_here(lines.read(int(line.split()[-1]) + 2)):
            return
    raise OSError("the server closed the connection")


def answers_here(payload: bytes) -> bool:
    """Returns whether a ping's answer comes from this container.

    Raises:
        ValueError: the server says that nobody listens.
    """
    start = payload.find(b"{")
    if start < 0:
        raise ValueError("the service does not listen")
    return json.loads(payload[start:]).get("metadata", {}).get("host") in (None, socket.gethostname())


def server_name(server: str) -> str:
    """Returns a server's address without its credentials."""
    return urlsplit(server).hostname or server


if __name__ == "__main__":
    sys.exit(main())

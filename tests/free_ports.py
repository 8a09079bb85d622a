"""Ports for servers that are started later, or again: of those that the system gives to nobody by itself."""

import random
import socket
from contextlib import suppress

_CHANCE = random.SystemRandom()
"""Not the same in every process of a test run."""


def free_port() -> int:
    """Return a port that nobody listens at, and that the system gives to no connection before it is bound again."""
    while True:
        port = _CHANCE.randrange(20_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port

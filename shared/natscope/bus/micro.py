"""Answers on `$SRV`, so that `nats micro ls` shows the house."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg

from natscope.telemetry.setup import VERSION

PREFIX = "io.nats.micro.v1"


@dataclass
class Endpoint:
    """One door and what passed through it since the start."""

    name: str
    subject: str
    queue: str
    summary: str
    requests: int = 0
    errors: int = 0
    processing_ns: int = 0
    last_error: str = ""

    def info(self) -> dict[str, object]:
        return {
            "name": self.name,
            "subject": self.subject,
            "queue_group": self.queue,
            "metadata": {"summary": self.summary},
        }

    def stats(self) -> dict[str, object]:
        return {
            "name": self.name,
            "subject": self.subject,
            "queue_group": self.queue,
            "num_requests": self.requests,
            "num_errors": self.errors,
            "last_error": self.last_error,
            "processing_time": self.processing_ns,
            "average_processing_time": self.processing_ns // self.requests if self.requests else 0,
        }


@dataclass
class Micro:
    """A service as NATS tools see it.

    Source: ADR-32, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md
    """

    name: str
    instance: str
    description: str
    endpoints: Sequence[Endpoint]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def start(self, nc: Client) -> None:
        """Answer PING, INFO and STATS, asked of all, of this service, or of this instance."""
        for verb, answer in (("PING", self._ping), ("INFO", self._info), ("STATS", self._stats)):
            for scope in ("", f".{self.name}", f".{self.name}.{self.instance}"):
                await nc.subscribe(f"$SRV.{verb}{scope}", cb=_answering(answer))

    def _identity(self, kind: str) -> dict[str, object]:
        return {
            "type": f"{PREFIX}.{kind}",
            "name": self.name,
            "id": self.instance,
            "version": VERSION,
            "metadata": {"platform": "natscope", "host": socket.gethostname()},
        }

    def _ping(self) -> dict[str, object]:
        return self._identity("ping_response")

    def _info(self) -> dict[str, object]:
        endpoints = [endpoint.info() for endpoint in self.endpoints]
        return self._identity("info_response") | {"description": self.description, "endpoints": endpoints}

    def _stats(self) -> dict[str, object]:
        endpoints = [endpoint.stats() for endpoint in self.endpoints]
        return self._identity("stats_response") | {"started": self.started.isoformat(), "endpoints": endpoints}


def _answering(answer: Callable[[], dict[str, object]]) -> Callable[[Msg], Awaitable[None]]:
    async def respond(message: Msg) -> None:
        if message.reply:
            await message.respond(json.dumps(answer()).encode())

    return respond

"""Answers that were given before, for asks that say the very same and take an earlier answer."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import hashlib
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.envelope import Headers, read
from natscope.bus.streams import REUSED
from natscope.contracts.errors import NatscopeError
from natscope.contracts.model import Chat, Chatted, Usage

log = logging.getLogger(__name__)

WRITTEN = "Natscope-Written"
"""Header: when the answer was given, in seconds of the epoch."""
WHOLE = frozenset({"stop", "tool_call"})


class Reused:
    """Answers by what was asked, shared by all gateways. Whatever goes wrong here only costs a call."""

    def __init__(self, bus: Bus, *, now: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._now = now

    async def find(self, ask: Chat, target: str, *, within_s: float) -> Chatted | None:
        """Return an answer to the same question from `target` (`provider/model`) that is not older than `within_s`.

        It is marked as replayed, and has no usage and no cost: nothing was paid.
        """
        try:
            found = await self._bus.inbox.look(f"KV_{REUSED}", _subject(ask, target))
            if found is None or self._now() - float((found.headers or {}).get(WRITTEN, 0)) > within_s:
                return None
            data = await self._bus.envelope.unpack(found.data or b"", found.headers)
            answer = read(Chatted, data, where=f"bucket {REUSED!r}")
        except (nats_errors.Error, js_errors.Error, NatscopeError, ValueError) as error:
            log.warning("earlier answers cannot be looked at", extra={"reason": repr(error)})
            return None
        return answer.model_copy(update={"replayed": True, "usage": Usage(), "cost_usd": 0.0})

    async def keep(self, ask: Chat, target: str, answer: Chatted) -> None:
        """Keep an answer for the next that asks the same, for a day at most, unless it was cut or refused."""
        if answer.finish_reason not in WHOLE:
            return
        headers: Headers = {WRITTEN: f"{self._now():.3f}"}
        try:
            data = await self._bus.envelope.pack(answer, headers)
            await self._bus.inbox.store(_subject(ask, target), data, headers)
        except (nats_errors.Error, js_errors.Error, NatscopeError) as error:
            log.warning("an answer cannot be kept for others", extra={"reason": repr(error)})


def _subject(ask: Chat, target: str) -> str:
    return f"$KV.{REUSED}.{same(ask, target)}"


def same(ask: Chat, target: str) -> str:
    """Return a digest of all that the answer depends on, and of whose it is; not of ids, times and sessions."""
    told: dict[str, Any] = {
        "target": target,
        "tenant": ask.tenant,
        "messages": [
            {"name": each.name, "role": each.role, "content": [block.model_dump(mode="json") for block in each.content]}
            for each in ask.messages
        ],
        **ask.model_dump(mode="json", include={"form", "tools", "tool_choice", "output", "generation"}),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""What a process keeps beside the answers in a ledger, found again after its death."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from nats import errors as nats_errors
from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.contracts.errors import BusUnavailable

BESIDE = "Natscope-Beside"
"""Header of an answer in a ledger: what its process keeps beside it."""
BATCH = 256
WAIT_S = 5.0


async def told_beside(bus: Bus, bucket: str, holder: str, *, since: float) -> list[str]:
    """Return what the process `holder` has kept beside its answers since a second of the epoch, oldest first.

    Raises:
        BusUnavailable: the ledger does not answer.
    """
    subject, found = f"$KV.{bucket}.>", list[str]()
    ask: dict[str, Any] = {"start_time": datetime.fromtimestamp(max(since, 0.0), UTC).isoformat(), "batch": BATCH}
    while True:
        messages, last = await _batch(bus, f"KV_{bucket}", ask | {"next_by_subj": subject})
        for message in messages:
            headers = message.headers or {}
            if BESIDE in headers and json.loads(headers["Natscope-Ledger"])["holder"] == holder:
                found.append(headers[BESIDE])
        if len(messages) < BATCH:
            return found
        ask = {"seq": last + 1, "batch": BATCH}


async def _batch(bus: Bus, stream: str, ask: dict[str, Any]) -> tuple[list[Msg], int]:
    """Return the messages of one batch, and the last one's sequence.

    Source: ADR-31, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md#batched-requests
    """
    inbox = bus.nc.new_inbox()
    listing = await bus.nc.subscribe(inbox)
    found: list[Msg] = []
    last = 0
    try:
        await bus.nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(ask).encode(), reply=inbox)
        async with asyncio.timeout(WAIT_S):
            async for reply in listing.messages:
                headers = reply.headers or {}
                if headers.get("Status") is not None:
                    if headers["Status"] not in ("204", "404"):
                        raise BusUnavailable(f"stream {stream!r} does not answer: {headers.get('Description')}")
                    break
                found.append(reply)
                last = int(headers["Nats-Sequence"])
    except (TimeoutError, nats_errors.Error) as error:
        raise BusUnavailable(f"stream {stream!r} does not answer: {error!r}") from error
    finally:
        with suppress(nats_errors.Error):
            await listing.unsubscribe()
    return found, last

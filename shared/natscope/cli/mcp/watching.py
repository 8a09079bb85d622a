"""Notices that what is offered to MCP clients is not what it was."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from natscope.bus.streams import AGENTS
from natscope.cli.mcp.offering import Offering
from natscope.contracts import tool
from natscope.contracts.errors import NatscopeError

log = logging.getLogger(__name__)

GATHER_S = 0.2
"""Changes that come within so short a while are one."""
LOOK_S = 10.0
"""How often it is looked without a sign: a host that was killed gives none."""


@asynccontextmanager
async def watched(offering: Offering, tell: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Have `tell` hear, while the body runs, that other agents or tools are offered than before."""
    sign = asyncio.Event()

    async def hear(_: Any) -> None:
        sign.set()

    nc = offering.house.bus.nc
    subjects = [f"$KV.{AGENTS}.*", *([tool.CHANGED.wildcard] if offering.with_tools else [])]
    heard = [await nc.subscribe(subject, cb=hear) for subject in subjects]
    watching = asyncio.create_task(_watch(offering, sign, tell))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        for subscription in heard:
            with contextlib.suppress(Exception):
                await subscription.unsubscribe()


async def _watch(offering: Offering, sign: asyncio.Event, tell: Callable[[], Awaitable[None]]) -> None:
    known = await _shown(offering)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await sign.wait()
        await asyncio.sleep(GATHER_S)
        sign.clear()
        now = await _shown(offering)
        if now is not None and now != known:
            known = now
            await tell()


async def _shown(offering: Offering) -> list[Any] | None:
    """Return what clients see of the offers; None if that cannot be told now."""
    try:
        offers = await offering.offers()
    except NatscopeError as error:
        log.info("what is offered cannot be looked up", extra={"reason": str(error)})
        return None
    return sorted(
        (each.name, each.description, repr(each.parameters), each.read_only, each.idempotent)
        for each in offers.values()
    )

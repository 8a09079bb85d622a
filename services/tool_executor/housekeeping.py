"""Keep order among the cells: orphans at start and then every ten seconds, idle cells every few seconds."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from natscope.contracts.errors import NatscopeError
from services.tool_executor.cells import Backend, Lives
from services.tool_executor.sessions import Sessions

log = logging.getLogger(__name__)

REAP_EVERY = timedelta(seconds=10)
"""As long as the dead may still count as alive where only their sign of life tells."""


@asynccontextmanager
async def housekeeping(
    backend: Backend, sessions: Sessions, lives: Lives, *, idle_after: timedelta
) -> AsyncGenerator[None]:
    """Reap orphans once, then keep order for as long as the body runs."""
    await _reap(backend, lives)
    task = asyncio.create_task(_keep(backend, sessions, lives, idle_after))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep(backend: Backend, sessions: Sessions, lives: Lives, idle_after: timedelta) -> None:
    pause = min(10.0, max(0.05, idle_after.total_seconds() / 4))
    reaped_at = time.monotonic()
    while True:
        await asyncio.sleep(pause)
        culled = await sessions.cull()
        if culled:
            log.info("idle cells removed", extra={"cells": culled})
        if time.monotonic() - reaped_at > REAP_EVERY.total_seconds():
            reaped_at = time.monotonic()
            await _reap(backend, lives)


async def _reap(backend: Backend, lives: Lives) -> None:
    try:
        removed = await backend.reap(lives)
    except NatscopeError as error:
        log.warning("orphans not looked for", extra={"reason": str(error)})
        return
    if removed:
        log.info("orphans removed", extra={"cells": removed})

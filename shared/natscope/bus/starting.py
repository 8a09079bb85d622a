"""Starting a service as a process: settings, logs, and a graceful end on a signal."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import uvloop
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from natscope.contracts.errors import NatscopeError
from natscope.telemetry import TelemetrySettings
from natscope.telemetry.dialogue import write_dialogue_to
from natscope.telemetry.logs import log_to_stderr

log = logging.getLogger(__name__)

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def start(name: str, settings: type[SettingsT], app: Callable[[SettingsT], AbstractAsyncContextManager[object]]) -> int:
    """Run a service until SIGTERM or SIGINT, let it close gracefully, and return the exit code.

    0 after a graceful end; 1 if it could not start; 2 if a setting is wrong. Why is said in one line.
    """
    try:
        log_to_stderr(name, TelemetrySettings().log_level)
        write_dialogue_to(TelemetrySettings().chat_log)
        uvloop.run(_run(app(settings())))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        variable = f"{settings.model_config.get('env_prefix', '')}{fault['loc'][0] if fault['loc'] else ''}".upper()
        sys.stderr.write(f"{name}: {variable} is wrong: {fault['msg']} (got {fault['input']!r})\n")
        return 2
    except NatscopeError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    return 0


async def _run(app: AbstractAsyncContextManager[object]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    opening = asyncio.ensure_future(app.__aenter__())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        return
    opening.result()
    _settle_garbage()
    try:
        await stopping
    finally:
        log.info("closing")
        await app.__aexit__(None, None, None)


def _settle_garbage() -> None:
    """Take what the start has built out of the garbage collector's sight, and let it look less often.

    With Python's own thresholds a busy service spends a sixth of its time looking for cycles, of which it makes few.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

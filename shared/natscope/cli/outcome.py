"""What a command's exit code means, and how an error is told: one line, with the way out.

0 completed · 1 failed · 2 wrong usage · 3 unavailable (no NATS, a service is not running, no answer in time)
4 refused input · 5 a limit was reached · 130 interrupted
"""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from typing import Any

from natscope.contracts.errors import BusUnavailable, Failure, NatscopeError, Refused, Unavailable
from natscope.contracts.task import Finished

COMPLETED = 0
FAILED = 1
UNAVAILABLE = 3
REFUSED = 4
LIMITED = 5
INTERRUPTED = 130

_STATES = {"completed": COMPLETED, "failed": FAILED, "limited": LIMITED, "interrupted": INTERRUPTED}


def code_of(outcome: Finished) -> int:
    """Return the exit code for a task that came to `outcome`."""
    return _STATES.get(outcome.state, FAILED)


def code_for(error: NatscopeError) -> int:
    """Return the exit code for `error`."""
    if isinstance(error, Refused):
        return REFUSED
    return UNAVAILABLE if isinstance(error, Unavailable) else FAILED


def run(command: Coroutine[Any, Any, int | None], *, as_json: bool = False, fast: bool = False) -> int:
    """Run `command` and return its exit code. An error becomes one line on standard error, never a traceback.

    `fast` runs it on uvloop, where there is one: worth its import for a process that serves.
    """
    try:
        with asyncio.Runner(loop_factory=_fast_loop if fast else None) as runner:
            code = runner.run(command) or COMPLETED
        sys.stdout.flush()
        return code
    except NatscopeError as error:
        tell(error, as_json=as_json)
        return code_for(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        return _unheard()
    except ConnectionError:
        tell(BusUnavailable("the connection to NATS was lost", remedy="try again when it is back"), as_json=as_json)
        return UNAVAILABLE
    except Exception as error:
        if os.environ.get("NATSCOPE_DEBUG"):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        sys.stderr.write(f"error: {said} (NATSCOPE_DEBUG=1 shows where)\n")
        return FAILED


def _unheard() -> int:
    """Leave quietly because nobody reads any more; Rich tells that by SystemExit, everything else by BrokenPipeError.

    Source: https://rich.readthedocs.io/en/stable/reference/console.html#rich.console.Console.on_broken_pipe
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return COMPLETED


def _fast_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def tell(error: NatscopeError, *, as_json: bool) -> None:
    """Say `error` in one line: for people on standard error, for programs as JSON on standard output."""
    if as_json:
        sys.stdout.write(json.dumps({"kind": "error", "error": Failure.of(error).model_dump(mode="json")}) + "\n")
    else:
        sys.stderr.write(line_of(error) + "\n")


def line_of(error: NatscopeError) -> str:
    """Return `error: <what> (<remedy>)` on one line."""
    return "error: " + " ".join(str(error).split())

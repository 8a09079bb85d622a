"""Runs the short form of a bench; if it takes too long, what it has started ends with it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

PATIENCE_S = 600.0
GRACE_S = 20.0
LIMIT_S = int(PATIENCE_S + GRACE_S) + 20
"""For a test that asks one bench."""


def told_by(module: str, *options: str) -> str:
    """Return what `python -m module options` prints.

    Raises:
        AssertionError: it failed, or took more than ten minutes; with what it said.
    """
    bench = subprocess.Popen(
        [sys.executable, "-m", module, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complained = bench.communicate(timeout=PATIENCE_S)
    except BaseException:
        _end(bench)
        raise
    assert bench.returncode == 0, complained
    return said


def _end(bench: "subprocess.Popen[str]") -> None:
    """End a bench and its processes: as Ctrl-C does, and if that is of no use, at once."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(bench.pid, number)
        with suppress(subprocess.TimeoutExpired):
            bench.communicate(timeout=GRACE_S)
            return

"""Load what programs use before anything of the worker is: it lies together then, and a run touches fewer pages.

A page that a process writes to after a fork is copied first, and counting references writes: most of a run's time is
that. So handlers which modules want called after a fork are kept for the forks that programs make, and the worker's
own do only what a run needs of them: those of `threading` replace locks that nobody holds where one thread is all.
"""

from __future__ import annotations

import os
from typing import Any

_PRELOADED = (
    *("ast", "base64", "collections", "contextlib", "csv", "ctypes", "dataclasses", "datetime", "decimal", "enum"),
    *("fractions", "functools", "glob", "hashlib", "heapq", "itertools", "json", "math", "operator"),
    *("pathlib", "random", "re", "resource", "select", "shutil", "signal", "site", "statistics", "string"),
    *("subprocess", "tarfile", "tempfile", "threading", "time", "traceback", "typing"),
)
_KEPT: list[dict[str, Any]] = []


def preload() -> None:
    """Import what programs use most and what the worker does, and keep what they want done after a fork."""
    register = os.register_at_fork
    os.register_at_fork = lambda **wanted: _KEPT.append(wanted)
    try:
        for name in _PRELOADED:
            __import__(name)
    finally:
        os.register_at_fork = register


def begin_anew() -> None:
    """In a child of the worker: draw a new seed, know the thread's new id, and register what was kept."""
    import random
    import threading

    random.seed()
    threading.main_thread()._set_native_id()  # pyright: ignore[reportAttributeAccessIssue]
    for wanted in _KEPT:
        os.register_at_fork(**wanted)

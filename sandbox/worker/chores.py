"""Long work on the workspace that is ours, not a program's: each piece ends its process with a result or a refusal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, NoReturn

from . import output
from .packing import pack, unpack
from .searching import search
from .workspace import ROOT, Refused, Workspace, refusal_of

RESTORE = "restore"
"""Finds the staged archive on its stdin."""

Say = Callable[[bytes], None]


def perform(kind: str, order: str, *, root: str = ROOT) -> NoReturn:
    """Do the work of that kind; the result goes to stdout, a refusal to stderr."""
    try:
        work(kind, json.loads(order) if order else {}, say_to(1), root=root)
    except Refused as refused:
        _refuse(refused)
    except MemoryError:
        _refuse(Refused("too_large", "the work takes more memory than there is"))
    except (OSError, RecursionError) as error:
        _refuse(refusal_of(error))
    os._exit(0)


def work(kind: str, order: dict[str, Any], say: Say, *, root: str = ROOT, archive: int = 0) -> None:
    """Do the work of that kind and say its result."""
    if kind == "grep":
        say(search(Workspace(root), order))
    elif kind == "archive":
        pack(root, int(order["limit_bytes"]), say)
    else:
        unpack(archive, root)
        output.make(root)


KINDS = ("grep", "archive", RESTORE)


def say_to(descriptor: int) -> Say:
    """Return what writes all it is given to `descriptor`."""

    def say(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return say


def _refuse(refused: Refused) -> NoReturn:
    say_to(2)(json.dumps({"code": refused.code, "text": str(refused)[:2000]}).encode())
    os._exit(1)

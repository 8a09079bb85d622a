"""Sockets that workers dial in at: each in a folder of its own, which one cell alone sees, and read-only."""

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from services.tool_executor.owner import Owner

log = logging.getLogger(__name__)

DOOR = "door"
"""The socket's name in its folder."""
_PREFIX = "natscope-cell-"
_OLD_S = 600.0
"""No cell is in the making for so long: what is older belongs to nobody, wherever its process was."""


class FolderNotSeen(Exception):
    """The engine does not see a folder of ours: it is on another machine, or has another view of this one."""


def behind(folder: Path, mounts: Iterable[Mapping[str, Any]]) -> Path:
    """Return where the engine has a `folder` that a container with those mounts sees; itself, if it is in none."""
    holding = [mount for mount in mounts if mount.get("Source") and folder.is_relative_to(mount["Destination"])]
    if not holding:
        return folder
    innermost = max(holding, key=lambda mount: len(mount["Destination"]))
    return Path(innermost["Source"]) / folder.relative_to(innermost["Destination"])


class Doorstep:
    """A socket that takes one caller; then there is nothing left of it."""

    def __init__(self, top: Path, *, seen: Path | None = None) -> None:
        """Below `top`, a folder of ours alone, `folder` is for every user to pass: the cell has one of its own.

        The engine has `top` at `seen`, if that is not the same path.

        Raises:
            OSError: it cannot be made.
        """
        self._top = top
        self.folder = top / "step"
        self.seen = (seen or top) / "step"
        """The folder, as the engine has it."""
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listen()
        except OSError:
            self.close()
            raise

    def lay_papers(self, user: int) -> dict[str, Path]:
        """Write what a cell lacks to know its names; returns where the engine has each, by where the cell wants it."""
        texts = {
            "hosts": "127.0.0.1 localhost cell\n",
            "passwd": f"root:x:0:0:root:/root:/bin/sh\ncell:x:{user}:{user}:cell:/workspace:/bin/sh\n",
            "group": f"root:x:0:\ncell:x:{user}:\n",
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o644)
        return {f"/etc/{name}": self.seen / name for name in texts}

    async def caller(self) -> socket.socket:
        """Return the connection of the first who dials in; nobody can after that."""
        try:
            return (await asyncio.get_running_loop().sock_accept(self._listener))[0]
        finally:
            self.close()

    def close(self) -> None:
        """Let nobody dial in, and remove `top`."""
        self._listener.close()
        shutil.rmtree(self._top, ignore_errors=True)

    def _listen(self) -> None:
        self.folder.mkdir()
        self.folder.chmod(0o755)
        held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # a socket's address has 107 letters at most, a folder's path may have more
            self._listener.bind(f"/proc/self/fd/{held}/{DOOR}")
        finally:
            os.close(held)
        (self.folder / DOOR).chmod(0o666)
        self._listener.listen(1)
        self._listener.setblocking(False)


class Doorsteps:
    """Makes doorsteps in a folder that the engine sees."""

    def __init__(self, above: Path | None, owner: Owner) -> None:
        """With `above` None there are none."""
        self._above = above
        self._seen = above
        self._owner = owner
        self._swept = False

    def new(self) -> Doorstep | None:
        """Return another one; None where there is none to be had."""
        if self._above is None:
            return None
        try:
            if not self._swept:
                self._swept = True
                self._remove_those_of_the_dead(self._above)
            top = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{self._owner.name}-", dir=self._above))
            return Doorstep(top, seen=self._seen and self._seen / top.name)
        except OSError as error:
            self.give_up(str(error))
            return None

    def look_through(self, mounts: Iterable[Mapping[str, Any]]) -> None:
        """Know where the engine has the folder: this process is in a container of it with those mounts."""
        self._seen = self._above and behind(self._above, mounts)

    def give_up(self, reason: str) -> None:
        """Make none from now on: workers are reached by the engine's stream."""
        self._above = None
        log.warning("workers cannot dial in", extra={"reason": reason})

    def _remove_those_of_the_dead(self, above: Path) -> None:
        for top in above.glob(f"{_PREFIX}*"):
            name = top.name.removeprefix(_PREFIX).rpartition("-")[0]
            with contextlib.suppress(FileNotFoundError):
                facts = top.lstat()
                old = time.time() - facts.st_mtime > _OLD_S
                if facts.st_uid == os.getuid() and (old or self._owner.has_outlived(name)):
                    shutil.rmtree(top, ignore_errors=True)

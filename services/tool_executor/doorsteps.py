"""Sockets that workers dial in at: each in a folder of its own, which one cell alone sees, and read-only."""

import asyncio
import logging
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

from services.tool_executor.owner import Owner

log = logging.getLogger(__name__)

DOOR = "door"
"""The socket's name in its folder."""
_PREFIX = "natscope-cells-"


class Doorstep:
    """A socket that takes one caller; then there is nothing left of it."""

    def __init__(self, folder: Path) -> None:
        """Make `folder`, for every user of the machine to pass: who the cell's is, is not known here.

        Raises:
            OSError: it cannot be made.
        """
        self.folder = folder
        folder.mkdir()
        folder.chmod(0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listen()
        except OSError:
            self.close()
            raise

    async def caller(self) -> socket.socket:
        """Return the connection of the first who dials in; nobody can after that."""
        try:
            return (await asyncio.get_running_loop().sock_accept(self._listener))[0]
        finally:
            self.close()

    def close(self) -> None:
        """Let nobody dial in, and remove the folder."""
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listen(self) -> None:
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
    """Makes doorsteps in a folder of this process, below one that the engine sees under the same path."""

    def __init__(self, above: Path | None, owner: Owner) -> None:
        """With `above` None there are none."""
        self._above = above
        self._owner = owner
        self._own: Path | None = None

    def new(self) -> Doorstep | None:
        """Return another one; None where there is none to be had."""
        if self._above is None:
            return None
        try:
            return Doorstep(self._folder(self._above) / secrets.token_hex(4))
        except OSError as error:
            self.give_up(str(error))
            return None

    def give_up(self, reason: str) -> None:
        """Make none from now on: workers are reached by the engine's stream."""
        self._above = None
        log.warning("workers cannot dial in", extra={"reason": reason})

    def close(self) -> None:
        """Remove the folder."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    def _folder(self, above: Path) -> Path:
        if self._own is None or not self._own.is_dir():
            self._remove_those_of_the_dead(above)
            self._own = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{self._owner.name}-", dir=above))
        return self._own

    def _remove_those_of_the_dead(self, above: Path) -> None:
        for folder in above.glob(f"{_PREFIX}*"):
            name = folder.name.removeprefix(_PREFIX).rpartition("-")[0]
            if folder.lstat().st_uid == os.getuid() and self._owner.has_outlived(name):
                shutil.rmtree(folder, ignore_errors=True)

"""Collect the bytes of an archive outside of the workspace until they are asked for."""

from __future__ import annotations

import errno
import os

from .workspace import ROOT, Refused

_MOST_BYTES = 257 << 20
_BYTES_PER_ENTRY = 2048


class Staging:
    """Bytes in memory that no program of the cell has a descriptor of."""

    def __init__(self, root: str = ROOT) -> None:
        self._root = root
        self._held: int | None = None

    def add(self, offset: int, data: bytes) -> int:
        """Keep `data` at `offset` and return how many bytes there are; offset 0 starts anew."""
        if offset == 0:
            self.clear()
            self._held = os.memfd_create("staged")
        if self._held is None or offset != os.fstat(self._held).st_size:
            raise Refused("bad_archive", f"nothing was staged up to byte {offset}")
        if offset + len(data) > self._room():
            self.clear()
            raise Refused("too_large", "the archive is larger than what the workspace can hold")
        try:
            while data:
                written = os.pwrite(self._held, data, offset)
                data, offset = data[written:], offset + written
        except OSError as error:
            self.clear()
            if error.errno in (errno.EFBIG, errno.ENOSPC, errno.ENOMEM):
                raise Refused("too_large", "the archive is larger than a file may be") from error
            raise
        return offset

    def take(self) -> int | None:
        """Return the descriptor of what was collected and forget it; its reader closes it."""
        held, self._held = self._held, None
        return held

    def clear(self) -> None:
        """Forget what was collected."""
        held = self.take()
        if held is not None:
            os.close(held)

    def _room(self) -> int:
        facts = os.statvfs(self._root)
        return min(_MOST_BYTES, facts.f_blocks * facts.f_frsize + (facts.f_files + 16) * _BYTES_PER_ENTRY)

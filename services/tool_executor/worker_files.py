"""The files of a cell with our worker in it: small work is asked of the worker, long work is a run of its own."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.tool_executor.cell_files import ARCHIVE_BYTES, READ_BYTES, FileFacts, FileRefused, Match, Matches
from services.tool_executor.cells import Hear, Outcome, RunLimits
from services.tool_executor.frames import Frame

CHUNK = 512 << 10
"""Bytes of a file per frame."""
MAX_PATH = 4096
EDIT_BYTES = 1 << 20
"""Old and new text of an edit together."""
_GREP = RunLimits(wall_clock=timedelta(seconds=5), output_bytes=4 << 20)
_TAR_S = timedelta(seconds=60)


class WorkerFiles(ABC):
    """Implements `Files` by means of requests to the worker."""

    @abstractmethod
    async def _ask(self, request: Mapping[str, Any], payload: bytes = b"") -> Frame:
        """Return the worker's answer to a request that is answered at once.

        Raises:
            FileRefused, CellLost
        """

    @abstractmethod
    async def _perform(self, kind: str, body: bytes, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        """Return the outcome of work that is done in a process of its own, under limits.

        Raises:
            CellLost
        """

    async def put_file(self, path: str, data: bytes) -> None:
        """Write `data` to `path`; see `Files.put_file`."""
        try:
            for offset in range(0, max(len(data), 1), CHUNK):
                piece = data[offset : offset + CHUNK]
                await self._ask({"op": "write", "path": _bounded(path), "offset": offset}, piece)
        except FileRefused as refusal:
            if refusal.code == "no_room":
                await self.remove_files([path])
            raise

    async def read_file(self, path: str, *, limit_bytes: int = READ_BYTES) -> bytes:
        """Return the bytes of `path`; see `Files.read_file`."""
        data = bytearray()
        while True:
            frame = await self._ask({"op": "read", "path": _bounded(path), "offset": len(data), "size": CHUNK})
            size = int(frame.header["size"])
            if size > limit_bytes:
                raise FileRefused("too_large", f"{path!r} has {size} bytes, over the limit of {limit_bytes}")
            data += frame.payload
            if not frame.payload or len(data) >= size:
                return bytes(data)

    async def has_file(self, path: str) -> bool:
        """Return whether there is a regular file at `path`."""
        try:
            await self.stat_file(path)
        except FileRefused:
            return False
        return True

    async def stat_file(self, path: str) -> FileFacts:
        """Return the facts of `path`; see `Files.stat_file`."""
        frame = await self._ask({"op": "stat", "path": _bounded(path)})
        return _facts(path, frame.header["size"], frame.header["changed_at"])

    async def list_files(self) -> tuple[FileFacts, ...]:
        """Return the regular files of the workspace; see `Files.list_files`."""
        return await self._listing(None)

    async def glob(self, pattern: str) -> tuple[FileFacts, ...]:
        """Return the files whose path fits; see `Files.glob`."""
        found = await self._listing(pattern)
        return tuple(sorted(found, key=lambda file: (-file.changed_at.timestamp(), file.path)))

    async def grep(self, pattern: str, *, glob: str = "**", context: int = 0, max_matches: int = 200) -> Matches:
        """Return the lines that fit; see `Files.grep`."""
        order = {"pattern": pattern, "glob": glob, "context": context, "max": max_matches}
        outcome = await self._perform("grep", json.dumps(order).encode(), _GREP)
        if outcome.timed_out:
            raise FileRefused("bad_pattern", f"{pattern!r} takes too long to search for")
        found = json.loads(_done(outcome))
        return Matches(tuple(_match(item) for item in found["found"]), bool(found["truncated"]))

    async def edit_file(self, path: str, old: str, new: str, *, replace_all: bool = False) -> int:
        """Replace `old` by `new`; see `Files.edit_file`."""
        before, after = (text.encode("utf-8", "surrogatepass") for text in (old, new))
        if len(before) + len(after) > EDIT_BYTES:
            raise FileRefused("too_large", f"old and new text have more than {EDIT_BYTES} bytes together")
        request = {"op": "edit", "path": _bounded(path), "all": replace_all, "old_size": len(before)}
        return int((await self._ask(request, before + after)).header["count"])

    async def remove_files(self, paths: Iterable[str]) -> int:
        """Remove files and folders; see `Files.remove_files`."""
        wanted = json.dumps([_bounded(path) for path in paths]).encode()
        return int((await self._ask({"op": "remove"}, wanted)).header["files"])

    async def archive(self, *, limit_bytes: int = ARCHIVE_BYTES) -> bytes:
        """Return a tar of the workspace; see `Files.archive`."""
        limits = RunLimits(wall_clock=_TAR_S, output_bytes=2 * limit_bytes)
        order = json.dumps({"limit_bytes": limit_bytes}).encode()
        return _done(await self._perform("archive", order, limits))

    async def restore(self, archive: bytes) -> tuple[FileFacts, ...]:
        """Fill the workspace from a tar; see `Files.restore`."""
        for offset in range(0, len(archive), CHUNK):
            await self._ask({"op": "stage", "offset": offset}, archive[offset : offset + CHUNK])
        _done(await self._perform("restore", b"", RunLimits(wall_clock=_TAR_S)))
        return await self.list_files()

    async def _listing(self, pattern: str | None) -> tuple[FileFacts, ...]:
        found: list[FileFacts] = []
        while True:
            frame = await self._ask({"op": "list", "pattern": pattern, "skip": len(found)})
            page = [_facts(path, size, changed_at) for path, size, changed_at in json.loads(frame.payload)]
            found += page
            if not page or not frame.header["more"]:
                return tuple(found)


def _bounded(path: str) -> str:
    if len(path) > MAX_PATH:
        raise FileRefused("bad_path", f"a path of {len(path)} characters is over the limit of {MAX_PATH}")
    return path


def _facts(path: str, size: int, changed_at: float) -> FileFacts:
    return FileFacts(path, int(size), datetime.fromtimestamp(float(changed_at), UTC))


def _match(item: Mapping[str, Any]) -> Match:
    return Match(item["path"], item["line"], item["text"], tuple(item["before"]), tuple(item["after"]))


def _done(outcome: Outcome) -> bytes:
    """Return what the work gave.

    Raises:
        FileRefused: the work was refused, or it went over a limit.
    """
    if outcome.succeeded:
        return outcome.stdout.head + outcome.stdout.tail
    try:
        why = json.loads(outcome.stderr.head)
        code, text = str(why["code"]), str(why["text"])
    except (ValueError, KeyError, TypeError):
        code, text = "too_large", "the work took more time or memory than it may"
    raise FileRefused(code, text)

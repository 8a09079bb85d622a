"""What `natscope files …` does: a session's files, between its workspace and this machine."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel
from rich.text import Text

from natscope import client
from natscope.cli.asking import NAME, print_json
from natscope.cli.listing import listed, table_of
from natscope.cli.telling import counted, printable
from natscope.contracts import workspace
from natscope.contracts.errors import BodyInvalid, BodyTooLarge

MOST_BYTES = 256 << 20
"""Of all that is brought at once, and of an archive."""
AT_ONCE = 256
"""Files of one ask."""


async def ls(session: str, pattern: str, *, as_json: bool) -> None:
    """List the files of a session."""
    async with client.open(name=NAME) as house:
        found = await house.workspace(session).files(pattern)
    _show(found, as_json, none=f"session {session!r} has no files" + (f" like {pattern!r}" if pattern != "**" else ""))


async def get(session: str, paths: Sequence[str], to: Path, *, as_json: bool) -> None:
    """Fetch files into a folder, each under its own path."""
    async with client.open(name=NAME) as house:
        found = await house.workspace(session).read(*paths)
    for path, data in found.items():
        await asyncio.to_thread(_save, to / path, data)
        _told({"path": str(to / path), "size_bytes": len(data)}, f"{to / path}: {len(data):,} bytes", as_json)


async def put(session: str, places: Sequence[Path], into: str, *, as_json: bool) -> None:
    """Bring files and folders into a session's workspace."""
    contents = await asyncio.to_thread(_contents, places, into.strip("/"))
    names = list(contents)
    async with client.open(name=NAME) as house:
        found: list[workspace.Entry] = []
        for start in range(0, len(names), AT_ONCE):
            part = {name: contents[name] for name in names[start : start + AT_ONCE]}
            found += await house.workspace(session).write(part)
    _show(found, as_json, none="there is nothing to bring")


async def rm(session: str, paths: Sequence[str], *, as_json: bool) -> None:
    """Remove files of a session."""
    async with client.open(name=NAME) as house:
        count = await house.workspace(session).remove(*paths)
    _told({"files": count}, f"{counted(count, 'file')} removed", as_json)


async def snapshot(session: str, archive: Path, *, as_json: bool) -> None:
    """Save a session's whole workspace."""
    async with client.open(name=NAME) as house:
        place = house.workspace(session)
        taken = await place.snapshot()
        data = await place.bytes_of(taken.archive)
    await asyncio.to_thread(_save, archive, data)
    told = {"archive": str(archive), "files": taken.files, "size_bytes": taken.size_bytes}
    _told(told, f"{archive}: {counted(taken.files, 'file')}, {taken.size_bytes:,} bytes", as_json)


async def restore(session: str, archive: Path, *, as_json: bool) -> None:
    """Fill a session's workspace from an archive."""
    data = await asyncio.to_thread(_read, archive, MOST_BYTES)
    async with client.open(name=NAME) as house:
        filled = await house.workspace(session).restore(data)
    told = {"files": filled.files, "size_bytes": filled.size_bytes}
    _told(told, f"{counted(filled.files, 'file')}, {filled.size_bytes:,} bytes", as_json)


def _contents(places: Sequence[Path], into: str) -> dict[str, bytes]:
    """Return the bytes of files, and of the files in folders, by their paths in the workspace."""
    found: dict[str, Path] = {}
    for place in places:
        top = place.resolve()
        inside = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
        for path in inside:
            name = "/".join([*filter(None, [into]), path.relative_to(top.parent).as_posix()])
            if name in found:
                raise BodyInvalid(f"two files would be {name!r}", remedy="bring them one by one, with --into")
            found[name] = path
    contents: dict[str, bytes] = {}
    for name, path in found.items():
        contents[name] = _read(path, MOST_BYTES - sum(map(len, contents.values())))
    return contents


def _read(path: Path, room: int) -> bytes:
    try:
        if path.stat().st_size > room:
            raise BodyTooLarge(f"there is no room for {str(path)!r}: {MOST_BYTES:,} bytes are allowed")
        return path.read_bytes()
    except OSError as error:
        raise BodyInvalid(f"file {str(path)!r} cannot be read: {error.strerror}", remedy="check the path") from error


def _save(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise BodyInvalid(f"file {str(path)!r} cannot be written: {error.strerror}", remedy="check --to") from error


def _show(found: Sequence[workspace.Entry], as_json: bool, *, none: str) -> None:
    table = table_of("bytes", "changed", "path")
    for file in found:
        table.add_row(f"{file.size_bytes:,}", f"{file.changed_at:%Y-%m-%d %H:%M:%S}", Text(printable(file.path)))
    entries: Sequence[BaseModel] = found
    listed(entries, as_json, table, none)


def _told(facts: Mapping[str, object], text: str, as_json: bool) -> None:
    if as_json:
        print_json(dict(facts))
    else:
        sys.stdout.write(printable(text) + "\n")

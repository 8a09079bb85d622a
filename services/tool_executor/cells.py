"""What a cell is to the rest of the house: a place that runs programs under limits and keeps their files."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

Language = Literal["python", "shell"]
Stream = Literal["stdout", "stderr"]

Hear = Callable[[Stream, str], Awaitable[None]]
"""Hears a program's output while it runs, as far as it belongs to the part kept from the start."""


class CellLost(Exception):
    """The cell ended while it was in use; what ran in it and its files are gone."""


class FileRefused(Exception):
    """The cell does not read or write that file; `code` says why in one word."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Program:
    """Foreign code and the language it is written in."""

    language: Language
    source: str


@dataclass(frozen=True)
class RunLimits:
    """What one run may use within the limits of its cell."""

    wall_clock: timedelta = timedelta(seconds=30)
    output_bytes: int = 64 << 10
    """Kept of each stream, half from its start and half from its end."""
    memory_bytes: int | None = None
    """All processes of the run together; None: as much as the cell has."""


@dataclass(frozen=True)
class CellLimits:
    """What one cell may use, whatever runs in it."""

    memory_bytes: int = 512 << 20
    cpus: float = 1.0
    processes: int = 64
    open_files: int = 256
    file_bytes: int = 64 << 20
    """Size of one file."""
    disk_bytes: int = 64 << 20
    """The workspace; the temporary folder has as much again. It counts as memory."""
    files: int = 4096
    """Files and folders in the workspace; the temporary folder has as many again."""


@dataclass(frozen=True)
class Captured:
    """The first and the last part of one output stream, and how many bytes lay between."""

    head: bytes = b""
    tail: bytes = b""
    dropped_bytes: int = 0

    @property
    def text(self) -> str:
        """The output as text; what is no UTF-8 becomes U+FFFD, and a gap is said in words where it is."""
        if not self.dropped_bytes:
            return (self.head + self.tail).decode("utf-8", "replace")
        head, tail = _without_split_end(self.head), self.tail.lstrip(_CONTINUATIONS)
        gap = f"\n[… {self.dropped_bytes} bytes dropped …]\n"
        return head.decode("utf-8", "replace") + gap + tail.decode("utf-8", "replace")


@dataclass(frozen=True)
class Outcome:
    """How a run ended. A program that failed is an outcome, not an error."""

    exit_code: int | None
    """None if a signal ended it."""
    signal: int | None
    stdout: Captured
    stderr: Captured
    duration: timedelta
    cpu_s: float = 0.0
    timed_out: bool = False
    out_of_memory: bool = False
    cancelled: bool = False

    @property
    def succeeded(self) -> bool:
        """True if the program ended by itself and said that all went well."""
        return self.exit_code == 0 and not (self.timed_out or self.cancelled)


@dataclass(frozen=True)
class FileFacts:
    """A regular file in a workspace."""

    path: str
    size_bytes: int


class Cell(Protocol):
    """One cell. Its calls run one after the other; its files stay from one to the next."""

    @property
    def lost(self) -> bool:
        """True once the cell has ended; it does not come back."""
        ...

    async def run(self, program: Program, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        """Run `program` in a fresh process; when this returns, no process of it is left.

        Cancelling stops the program and leaves the cell usable.

        Raises:
            CellLost: it had begun; its outcome is not known.
        """
        ...

    async def put_file(self, path: str, data: bytes) -> None:
        """Write `data` to `path`, relative to the workspace; folders are made, links are never followed.

        Raises:
            FileRefused, CellLost
        """
        ...

    async def read_file(self, path: str, *, limit_bytes: int = 16 << 20) -> bytes:
        """Return the bytes of the regular file at `path`.

        Raises:
            FileRefused: no such file, no regular file, behind a link, or over `limit_bytes` (`too_large`).
            CellLost
        """
        ...

    async def has_file(self, path: str) -> bool:
        """Return whether there is a regular file at `path`.

        Raises:
            CellLost
        """
        ...

    async def list_files(self) -> tuple[FileFacts, ...]:
        """Return the regular files of the workspace.

        Raises:
            CellLost
        """
        ...

    async def close(self) -> None:
        """End everything in the cell and remove it with its files."""
        ...


Lives = Callable[[str], Awaitable[bool]]
"""Tells whether the executor process of that instance id is alive."""


class Backend(Protocol):
    """A way to make cells."""

    @property
    def name(self) -> str:
        """`docker`, `bubblewrap`, or `none`."""
        ...

    @property
    def does_not_limit(self) -> tuple[str, ...]:
        """What cells of this backend may use without a limit, each in a few words."""
        ...

    async def open_cell(self, session: str) -> Cell:
        """Return a new cell for `session`.

        Raises:
            SandboxUnavailable: no cell could be made; nothing ran.
        """
        ...

    async def reap(self, lives: Lives) -> int:
        """Remove cells whose executor is dead and return how many there were."""
        ...

    async def close(self) -> None:
        """Remove every cell of this backend and let go of what it holds."""
        ...


_CONTINUATIONS = bytes(range(0x80, 0xC0))


def _without_split_end(data: bytes) -> bytes:
    """Return `data` without the beginning of a character whose end is not there."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if length > back else data
        if byte < 0x80:
            break
    return data

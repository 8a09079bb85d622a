"""What a cell is to the rest of the house: a place that runs programs under limits and keeps their files."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from services.tool_executor.cell_files import FileFacts as FileFacts
from services.tool_executor.cell_files import FileRefused as FileRefused
from services.tool_executor.cell_files import Files

Language = Literal["python", "shell"]
Stream = Literal["stdout", "stderr"]
Limit = Literal["cpu_s", "processes", "disk_bytes", "files"]
"""A limit of `RunLimits` that has no field of its own in `Outcome`."""
Variables = Literal["new", "kept", "lost"]
"""`new`: the cell's first stateful program · `kept`: those of the programs before it · `lost`: it began with none,
for the interpreter that had them was ended (deadline, memory, crash, exit)."""

Hear = Callable[[Stream, str], Awaitable[None]]
"""Hears a program's output while it runs, as far as it belongs to the part kept from the start."""


class CellLost(Exception):
    """The cell ended while it was in use; what ran in it and its files are gone."""


@dataclass(frozen=True)
class Program:
    """Foreign code and the language it is written in."""

    language: Language
    source: str
    stateful: bool = False
    """Python only: run in the cell's one lasting interpreter, which keeps its variables and shows the value of the
    last expression as a notebook does. False: a fresh process."""


@dataclass(frozen=True)
class RunLimits:
    """What one run may use within the limits of its cell."""

    wall_clock: timedelta = timedelta(seconds=30)
    output_bytes: int = 64 << 10
    """Kept of each stream, half from its start and half from its end."""
    memory_bytes: int | None = None
    """All processes of the run together; None: as much as the cell has. So it is with all that follows."""
    cpu_s: float | None = None
    """CPU time of all processes together."""
    processes: int | None = None
    """Processes and threads at a time."""
    open_files: int | None = None
    """Descriptors of one process."""
    disk_bytes: int | None = None
    """What the workspace may hold, what was there before included."""
    files: int | None = None
    """Files and folders that the workspace may hold, those of before included."""


@dataclass(frozen=True)
class CellLimits:
    """What one cell may use, whatever runs in it."""

    memory_bytes: int = 512 << 20
    cpus: float = 1.0
    processes: int = 128
    """Threads included."""
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
class Artifact:
    """A file that a run left, new or changed, in the output folder."""

    path: str
    """Relative to the workspace, e.g. `output/figure-1.png`."""
    media_type: str
    size_bytes: int


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
    over: Limit | None = None
    """The limit of `RunLimits` that the run was stopped for, or found to be over at its end."""
    disk_full: bool = False
    """True if the workspace, the temporary folder or the shared memory had no room left at the end."""
    temporary_lost: bool = False
    """True if what was in the temporary folder is gone: the program was stopped, or had filled it."""
    artifacts: tuple[Artifact, ...] = ()
    """By path; figures that were open at the end are among them."""
    artifacts_left_out: int = 0
    """How many more there are in the output folder than `artifacts` tells."""
    variables: Variables | None = None
    """What a stateful program began with; None for a fresh process."""

    @property
    def succeeded(self) -> bool:
        """True if the program ended by itself, said that all went well, and kept its limits."""
        return self.exit_code == 0 and not (self.timed_out or self.cancelled or self.over)


class Cell(Files, Protocol):
    """One cell. Its calls run one after the other; its files stay from one to the next."""

    @property
    def lost(self) -> bool:
        """True once the cell has ended; it does not come back."""
        ...

    async def run(self, program: Program, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        """Run `program`; when this returns, no process of it is left but the lasting interpreter, which is stopped.

        What it left in shared memory is gone, the workspace stays, and so does the temporary folder unless the outcome
        says otherwise. Cancelling stops the program and leaves the cell usable.

        Raises:
            CellLost: it had begun; its outcome is not known.
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
        """`docker`, `bubblewrap`, `monty`, or `none`."""
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

"""Cells made of monty, an interpreter of a part of Python, for machines that have no walls; it alone imports monty."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from datetime import timedelta

from pydantic_monty import AsyncMonty, AsyncMontySession, MontyCrashedError, MontyError, ResourceLimits

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.cell_files import ARCHIVE_BYTES, READ_BYTES, FileFacts, FileRefused, Matches
from services.tool_executor.cells import (
    Captured,
    Cell,
    CellLost,
    Hear,
    Lives,
    Outcome,
    Program,
    RunLimits,
    Stream,
    Variables,
)

NO_FILES = "the backend 'monty' keeps no files"
REMEDY = "start a Docker engine, or install bubblewrap"
MAX_RECURSION = 500
_SETTLE_S = 0.1
"""The pool should be done when it says so; its threads still let go of Python objects, and a process that ends
meanwhile now and then aborts."""


class MontyCells:
    """Implements `Backend`: an interpreter process per run, which can reach neither files, network nor programs."""

    name = "monty"
    does_not_limit: tuple[str, ...] = ("memory outside the interpreter's own heap", "CPU share of one run")

    def __init__(self, *, memory_bytes: int, max_cells: int) -> None:
        self._memory_bytes = memory_bytes
        self._pool = AsyncMonty(min_processes=0, max_processes=max_cells)
        self._begun = False
        self._open: set[MontyCell] = set()

    async def problem(self) -> str | None:
        """Return why no cell can be made here, or None if one can."""
        try:
            await self._begin()
            async with self._pool.checkout() as session:
                await session.feed_run("1")
        except (MontyError, OSError, RuntimeError) as error:
            return str(error)
        return None

    async def open_cell(self, session: str) -> Cell:
        """Return a new cell; see `Backend.open_cell`."""
        await self._begin()
        self._open = {cell for cell in self._open if not cell.lost}
        cell = MontyCell(self._pool, self._memory_bytes)
        self._open.add(cell)
        return cell

    async def reap(self, lives: Lives) -> int:
        """There is nothing to remove: interpreters end with the process that started them."""
        return 0

    async def close(self) -> None:
        """End every interpreter."""
        for cell in tuple(self._open):
            await cell.close()
        if self._begun:
            self._begun = False
            await self._pool.__aexit__(None, None, None)
            await asyncio.sleep(_SETTLE_S)

    async def _begin(self) -> None:
        if not self._begun:
            await self._pool.__aenter__()
            self._begun = True


class MontyCell:
    """Implements `Cell`: Python only, and no files."""

    def __init__(self, pool: AsyncMonty, memory_bytes: int) -> None:
        self._pool = pool
        self._memory_bytes = memory_bytes
        self._turn = asyncio.Lock()
        self._lasting: AsyncMontySession | None = None
        self._had_variables = False
        self.lost = False

    async def run(self, program: Program, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        """Run `program`; see `Cell.run`.

        Raises:
            SandboxUnavailable: it is a shell command, or asks for a limit that is not kept here; nothing ran.
        """
        if program.language != "python":
            raise SandboxUnavailable("the backend 'monty' runs Python only, no shell", remedy=REMEDY)
        unkept = [name for name in ("cpu_s", "processes", "open_files") if getattr(limits, name) is not None]
        if unkept:
            raise SandboxUnavailable(f"the backend 'monty' does not keep the limit {unkept[0]!r}", remedy=REMEDY)
        async with self._turn:
            if self.lost:
                raise CellLost("the cell has ended")
            if program.stateful:
                return await self._run_lasting(program.source, limits, hear)
            session = await self._checked_out(limits)
            try:
                return await _fed(session, program.source, limits, hear)
            finally:
                await _returned(session)

    async def put_file(self, path: str, data: bytes) -> None:
        """Refuse; see `NO_FILES`."""
        raise FileRefused("os_error", NO_FILES)

    async def read_file(self, path: str, *, limit_bytes: int = READ_BYTES) -> bytes:
        """Refuse: nothing is there."""
        raise FileRefused("not_found", NO_FILES)

    async def has_file(self, path: str) -> bool:
        """Return False."""
        return False

    async def stat_file(self, path: str) -> FileFacts:
        """Refuse: nothing is there."""
        raise FileRefused("not_found", NO_FILES)

    async def list_files(self) -> tuple[FileFacts, ...]:
        """Return nothing."""
        return ()

    async def glob(self, pattern: str) -> tuple[FileFacts, ...]:
        """Return nothing."""
        return ()

    async def grep(self, pattern: str, *, glob: str = "**", context: int = 0, max_matches: int = 200) -> Matches:
        """Return nothing."""
        return Matches(())

    async def edit_file(self, path: str, old: str, new: str, *, replace_all: bool = False) -> int:
        """Refuse: nothing is there."""
        raise FileRefused("not_found", NO_FILES)

    async def remove_files(self, paths: Iterable[str]) -> int:
        """Remove nothing."""
        return 0

    async def archive(self, *, limit_bytes: int = ARCHIVE_BYTES) -> bytes:
        """Refuse; see `NO_FILES`."""
        raise FileRefused("os_error", NO_FILES)

    async def restore(self, archive: bytes) -> tuple[FileFacts, ...]:
        """Refuse; see `NO_FILES`."""
        raise FileRefused("os_error", NO_FILES)

    async def close(self) -> None:
        """End the lasting interpreter."""
        self.lost = True
        await self._forget()

    async def _run_lasting(self, source: str, limits: RunLimits, hear: Hear | None) -> Outcome:
        began_with: Variables = "kept" if self._lasting else "lost" if self._had_variables else "new"
        if self._lasting is None:
            self._lasting = await self._checked_out(limits)
            self._had_variables = True
        try:
            outcome = await _fed(self._lasting, source, limits, hear, show_value=True, began_with=began_with)
        except BaseException:
            await self._forget()
            raise
        if outcome.timed_out or outcome.out_of_memory:
            await self._forget()
        return outcome

    async def _forget(self) -> None:
        session, self._lasting = self._lasting, None
        if session is not None:
            await _returned(session)

    async def _checked_out(self, limits: RunLimits) -> AsyncMontySession:
        memory = min(limits.memory_bytes or self._memory_bytes, self._memory_bytes)
        kept: ResourceLimits = {"max_memory": memory, "max_recursion_depth": MAX_RECURSION}
        try:
            return await self._pool.checkout(limits=kept).__aenter__()
        except (MontyError, OSError) as error:
            raise SandboxUnavailable(f"no interpreter started: {error}") from error


class _Kept:
    """The first and last part of a stream, as it is said."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0

    def add(self, text: str) -> str:
        """Keep `text` and return the part of it that belongs to the head."""
        data = text.encode("utf-8", "replace")
        room = self._half - len(self._head)
        head, rest = data[:room], data[room:]
        self._head += head
        self._tail += rest
        over = len(self._tail) - self._half
        if over > 0:
            self._dropped += over
            del self._tail[:over]
        return head.decode("utf-8", "ignore")

    def captured(self) -> Captured:
        """Return what was kept."""
        return Captured(bytes(self._head), bytes(self._tail), self._dropped)


async def _fed(
    session: AsyncMontySession,
    source: str,
    limits: RunLimits,
    hear: Hear | None,
    *,
    show_value: bool = False,
    began_with: Variables | None = None,
) -> Outcome:
    kept: dict[Stream, _Kept] = {"stdout": _Kept(limits.output_bytes), "stderr": _Kept(limits.output_bytes)}
    told: asyncio.Queue[tuple[Stream, str]] = asyncio.Queue()
    loop, began = asyncio.get_running_loop(), time.monotonic()

    def heard(stream: Stream, text: str) -> None:
        head = kept[stream].add(text)
        if hear is not None and head:
            loop.call_soon_threadsafe(told.put_nowait, (stream, head))

    telling = asyncio.create_task(_tell(told, hear)) if hear else None
    exit_code, timed_out, out_of_memory = 0, False, False
    try:
        async with asyncio.timeout(limits.wall_clock.total_seconds()):
            value = await session.feed_run(source, print_callback=heard)
        if show_value and value is not None:
            heard("stdout", f"{value!r}\n")
    except TimeoutError:
        timed_out = True
    except MontyCrashedError as error:
        raise CellLost(f"the interpreter died: {error}") from error
    except MontyError as error:
        exit_code, out_of_memory = 1, str(error).startswith("MemoryError: memory limit")
        heard("stderr", f"{error.display() if hasattr(error, 'display') else error}\n")  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        await _told(told, telling)
    return Outcome(
        exit_code=None if timed_out else exit_code,
        signal=9 if timed_out else None,
        stdout=kept["stdout"].captured(),
        stderr=kept["stderr"].captured(),
        duration=timedelta(seconds=time.monotonic() - began),
        timed_out=timed_out,
        out_of_memory=out_of_memory,
        variables=began_with,
    )


async def _tell(told: asyncio.Queue[tuple[Stream, str]], hear: Hear) -> None:
    while True:
        stream, text = await told.get()
        await hear(stream, text)
        told.task_done()


async def _told(told: asyncio.Queue[tuple[Stream, str]], telling: "asyncio.Task[None] | None") -> None:
    if telling is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.sleep(0)
            await asyncio.wait_for(told.join(), 5)
        telling.cancel()


async def _returned(session: AsyncMontySession) -> None:
    with contextlib.suppress(MontyError):
        await session.__aexit__(None, None, None)

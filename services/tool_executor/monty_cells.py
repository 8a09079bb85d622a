"""Cells made of monty, an interpreter of a part of Python, for machines that have no walls."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Iterable
from datetime import timedelta

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.cell_files import ARCHIVE_BYTES, READ_BYTES, FileFacts, FileRefused, Matches
from services.tool_executor.cells import Cell, CellLost, Hear, Lives, Outcome, Program, RunLimits
from services.tool_executor.line import Line
from services.tool_executor.pipes import StreamPipe
from services.tool_executor.worker_cell import WorkerCell

log = logging.getLogger(__name__)

NO_FILES = "the backend 'monty' keeps no files"
REMEDY = "start a Docker engine, or install bubblewrap"
_HOST = "services.tool_executor.monty_host"
_GREETING_S = 15.0
_PROBE = RunLimits(wall_clock=timedelta(seconds=10))
_PASSED_ON = ("PATH", "SYSTEMROOT", "MONTY_BIN")


class MontyCells:
    """Implements `Backend`: a process per cell, whose interpreters can reach neither files, network nor programs."""

    name = "monty"
    does_not_limit: tuple[str, ...] = ("memory outside the interpreter's own heap", "CPU share of one run")

    def __init__(self, *, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._open: set[MontyCell] = set()

    async def problem(self) -> str | None:
        """Return why no cell can be made here, or None if one can."""
        if importlib.util.find_spec("pydantic_monty") is None:
            return "the package pydantic-monty is not installed"
        try:
            cell = await self.open_cell("probe")
            outcome = await cell.run(Program("python", "1"), _PROBE)
            await cell.close()
        except SandboxUnavailable as error:
            return error.message
        except CellLost as error:
            return str(error)
        return None if outcome.succeeded else outcome.stderr.text

    async def open_cell(self, session: str) -> Cell:
        """Return a new cell; see `Backend.open_cell`."""
        making = asyncio.ensure_future(self._make(session))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxUnavailable):
                await (await making).close()
            raise

    async def reap(self, lives: Lives) -> int:
        """There is nothing to remove: a cell's process ends with its input, and its interpreters with it."""
        return 0

    async def close(self) -> None:
        """End every cell."""
        await asyncio.gather(*(cell.close() for cell in tuple(self._open)))

    async def _make(self, session: str) -> Cell:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _HOST, str(self._memory_bytes)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnavailable(f"{sys.executable} does not start: {error}") from error
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both streams were asked for")
        line = Line(StreamPipe(process.stdout, process.stdin))
        ended = asyncio.create_task(_ended(process))
        try:
            await line.ready(within_s=_GREETING_S)
        except CellLost as error:
            await _end(process, line, ended)
            raise SandboxUnavailable(f"monty did not start: {error}", remedy=REMEDY) from error
        log.debug("cell opened", extra={"session": session, "pid": process.pid})
        return self._cell(process, line, ended)

    def _cell(self, process: asyncio.subprocess.Process, line: Line, ended: "asyncio.Task[None]") -> "MontyCell":
        async def remove() -> None:
            self._open.discard(cell)
            await _end(process, line, ended)

        cell = MontyCell(line, remove=remove, process_limits={})
        self._open.add(cell)
        return cell


class MontyCell(WorkerCell):
    """Implements `Cell`: Python only, and no files."""

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
        return await super().run(program, limits, hear)

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


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Return when the process has ended; an interpreter that went on without it is ended then."""
    await process.wait()
    _kill(process)


async def _end(process: asyncio.subprocess.Process, line: Line, ended: "asyncio.Task[None]") -> None:
    _kill(process)
    await ended
    await line.close()


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process and all of its group, where there are groups."""
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

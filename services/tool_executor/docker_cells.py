"""Cells made of Docker containers; the only file that imports `docker`."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import docker.errors
import docker.utils
from docker.types import LogConfig, Ulimit
from requests.exceptions import RequestException

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.cells import Cell, CellLimits, CellLost, Lives
from services.tool_executor.line import Line
from services.tool_executor.owner import Owner
from services.tool_executor.pipes import AttachedPipe
from services.tool_executor.settings import Settings
from services.tool_executor.worker_cell import WorkerCell

log = logging.getLogger(__name__)
T = TypeVar("T")

PLATFORM, INSTANCE, OWNER, SESSION = "natscope.platform", "natscope.instance", "natscope.owner", "natscope.session"
USER = 1000
_PERIOD_US = 20_000
"""A short scheduling period: a cell that is out of CPU time still hears its worker within it."""
_SOCKET = "http+unix://"
_ENGINE_S = 20.0
_ENGINE_THREADS = 8
_GREETING_S = 15.0
_UNCLAIMED_S = 60.0
"""A container of ours that is older than this and no cell of ours was never handed to anybody."""


@dataclass(frozen=True)
class DockerSettings:
    """What the containers are made of."""

    image: str
    platform: str
    seccomp: str
    """The profile itself, as JSON."""
    limits: CellLimits
    orphan_exits_after_s: float
    runtime: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "DockerSettings":
        """Return the part of the service's settings that concerns containers.

        Raises:
            OSError: the seccomp profile cannot be read.
        """
        return cls(
            image=settings.image,
            platform=settings.platform,
            seccomp=(settings.sandbox_dir / "seccomp.json").read_text(),
            limits=settings.cell_limits,
            orphan_exits_after_s=settings.orphan_exits_after.total_seconds(),
            runtime=settings.runtime,
        )


class Engine:
    """Calls to the engine's API: each in a thread of a small pool, each with a deadline."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_ENGINE_THREADS, thread_name_prefix="engine")
        self._client: docker.DockerClient | None = None

    async def call(self, act: Callable[[docker.DockerClient], T]) -> T:
        """Return what `act` returns.

        Raises:
            SandboxUnavailable: the engine does not answer, or refuses.
        """
        try:
            async with asyncio.timeout(_ENGINE_S):
                return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: act(self._connected()))
        except TimeoutError:
            raise SandboxUnavailable(f"the Docker engine did not answer within {_ENGINE_S:g} s") from None
        except (docker.errors.DockerException, RequestException, OSError) as error:
            raise SandboxUnavailable(f"the Docker engine refused: {error}", remedy="is the engine up?") from error

    def close(self) -> None:
        """Close the connections; calls in progress end by themselves."""
        self._pool.shutdown(wait=False)
        if self._client is not None:
            self._client.close()

    def _connected(self) -> docker.DockerClient:
        if self._client is None:
            _look_for_engine()
            self._client = docker.from_env(timeout=int(_ENGINE_S) - 5, max_pool_size=_ENGINE_THREADS)
        return self._client


class DockerCells:
    """Implements `Backend`: a hardened container per cell, its worker attached over standard input and output."""

    name = "docker"
    does_not_limit: tuple[str, ...] = ()

    def __init__(self, settings: DockerSettings, owner: Owner, engine: Engine | None = None) -> None:
        self._settings = settings
        self._owner = owner
        self._engine = engine or Engine()
        self._open: dict[str, WorkerCell] = {}

    async def problem(self) -> str | None:
        """Return why no cell can be made here, or None if one can."""
        try:
            await self._engine.call(lambda client: client.images.get(self._settings.image))
        except SandboxUnavailable as error:
            if isinstance(error.__cause__, docker.errors.ImageNotFound):
                return f"the engine has no image {self._settings.image!r}: build it with `make sandbox-image`"
            return error.message
        return None

    async def open_cell(self, session: str) -> Cell:
        """Return a new container's cell; see `Backend.open_cell`."""
        making = asyncio.ensure_future(self._make(session))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxUnavailable):
                await (await making).close()
            raise

    async def reap(self, lives: Lives) -> int:
        """Remove this platform's containers whose executor is dead; see `Backend.reap`."""
        label = f"{PLATFORM}={self._settings.platform}"
        found = await self._engine.call(lambda client: client.api.containers(all=True, filters={"label": label}))
        removed = 0
        for container in found:
            labels: dict[str, str] = container.get("Labels") or {}
            if await self._is_orphan(container["Id"], container["Created"], labels, lives):
                await self._remove(container["Id"])
                removed += 1
                log.info("orphan removed", extra={"container": container["Id"][:12], "session": labels.get(SESSION)})
        return removed

    async def close(self) -> None:
        """Remove every container this process made."""
        await asyncio.gather(*(cell.close() for cell in tuple(self._open.values())), return_exceptions=True)
        self._engine.close()

    async def _make(self, session: str) -> WorkerCell:
        id = await self._engine.call(lambda client: _create(client, self._settings, self._labels(session)))
        try:
            line = await self._start(id)
        except CellLost as error:
            await self._remove(id)
            raise SandboxUnavailable(f"a container started, but its worker did not answer: {error}") from error
        except BaseException:
            await asyncio.shield(self._remove(id))
            raise
        return self._cell(id, line)

    async def _start(self, id: str) -> Line:
        attached = await self._engine.call(lambda client: _attach(client, id))
        line = Line(AttachedPipe(*await asyncio.open_connection(sock=attached)))
        try:
            await self._engine.call(lambda client: client.api.start(id))
            await line.ready(within_s=_GREETING_S)
        except BaseException:
            await line.close()
            raise
        return line

    def _cell(self, id: str, line: Line) -> WorkerCell:
        async def remove() -> None:
            self._open.pop(id, None)
            await self._remove(id)

        limits = self._settings.limits
        process_limits = {"open_files": limits.open_files, "file_bytes": limits.file_bytes}
        cell = self._open[id] = WorkerCell(line, remove=remove, process_limits=process_limits)
        return cell

    async def _is_orphan(self, id: str, created: int, labels: dict[str, str], lives: Lives) -> bool:
        if labels.get(INSTANCE) == self._owner.instance:
            return id not in self._open and time.time() - created > _UNCLAIMED_S
        return await self._owner.of_the_dead(labels.get(OWNER, ""), labels.get(INSTANCE, ""), lives)

    async def _remove(self, id: str) -> None:
        try:
            await self._engine.call(lambda client: _remove(client, id))
        except SandboxUnavailable as error:
            log.warning("container not removed", extra={"container": id[:12], "reason": error.message})

    def _labels(self, session: str) -> dict[str, str]:
        return {
            PLATFORM: self._settings.platform,
            INSTANCE: self._owner.instance,
            OWNER: self._owner.mark,
            SESSION: session,
        }


def _look_for_engine() -> None:
    """Raise OSError if nobody listens at the engine's socket; the client itself would leave its own open then."""
    address = str(docker.utils.parse_host(os.environ.get("DOCKER_HOST")))
    if address.startswith(_SOCKET):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_ENGINE_S / 4)
            probe.connect(address.removeprefix(_SOCKET))


def _create(client: docker.DockerClient, settings: DockerSettings, labels: dict[str, str]) -> str:
    """Create a container and return its id. Source: Docker Engine API, POST /containers/create."""
    worker = {"idle_exit_s": settings.orphan_exits_after_s}
    created = client.api.create_container(
        settings.image,
        command=[json.dumps(worker)],
        name=f"{settings.platform}-cell-{secrets.token_hex(6)}",
        hostname="cell",
        user=f"{USER}:{USER}",
        working_dir="/workspace",
        stdin_open=True,
        network_disabled=True,
        labels=labels,
        host_config=_walls(client, settings),
    )
    return str(created["Id"])


def _walls(client: docker.DockerClient, settings: DockerSettings) -> dict[str, Any]:
    """Return what keeps a program in. Source: Docker Engine API, HostConfig."""
    limits = settings.limits
    scratch = f"rw,nosuid,nodev,exec,size={limits.disk_bytes},nr_inodes={limits.files},mode=1777"
    return client.api.create_host_config(
        auto_remove=True,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges", f"seccomp={settings.seccomp}"],
        read_only=True,
        ipc_mode="private",
        pids_limit=limits.processes,
        mem_limit=limits.memory_bytes,
        memswap_limit=limits.memory_bytes,
        cpu_period=_PERIOD_US,
        cpu_quota=int(_PERIOD_US * limits.cpus),
        tmpfs={
            "/workspace": f"{scratch},uid={USER},gid={USER}",
            "/tmp": scratch,  # noqa: S108 - the container's own
            "/dev/shm": f"rw,nosuid,nodev,noexec,size={limits.disk_bytes},nr_inodes=256,mode=1777",  # noqa: S108
        },
        ulimits=[
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files),
            Ulimit(name="fsize", soft=limits.file_bytes, hard=limits.file_bytes),
            Ulimit(name="memlock", soft=65536, hard=65536),
            Ulimit(name="msgqueue", soft=0, hard=0),
        ],
        log_config=LogConfig(type="none"),
        runtime=settings.runtime,
    )


def _attach(client: docker.DockerClient, id: str) -> socket.socket:
    """Return a socket of our own to the container's standard streams; when it closes, so does the worker's input."""
    params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    stream = client.api.attach_socket(id, params=params)
    try:
        attached = socket.socket(fileno=os.dup(stream.fileno()))
    finally:
        stream._response.close()
    attached.setblocking(False)
    return attached


def _remove(client: docker.DockerClient, id: str) -> None:
    try:
        client.api.remove_container(id, force=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:
            raise

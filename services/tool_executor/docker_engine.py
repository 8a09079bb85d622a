"""The Docker engine as the cells need it; the only file that imports `docker`."""

import asyncio
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import docker.utils
from docker.types import LogConfig, Mount, Ulimit
from requests.exceptions import RequestException

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.doorsteps import DOOR, Doorstep, FolderNotSeen
from services.tool_executor.installing import installing_of

T = TypeVar("T")
Client = docker.DockerClient
Act = Callable[[docker.DockerClient], T]

_FIRST_USER, _USERS = 1_879_048_192, 1 << 20
"""Each cell has a user of its own: the kernel counts processes by user, so a limit of them holds for one cell. The
cgroup's limit alone would refuse a fork after the memory was copied: a bomb then costs the worker its CPU time too."""
_PERIOD_US = 20_000
"""A short scheduling period: a cell that is out of CPU time still hears its worker within it."""
_PAGE = 4096
"""Bytes in which the kernel counts such memory; where its pages are larger, there is more of it."""
_DOORSTEP = "/run/natscope"
"""Where a cell sees the folder of its doorstep."""
_SOCKET = "http+unix://"
_ENGINE_S, _THREADS = 20.0, 8
_PATIENCE_S = 0.25
"""A call that takes longer than this has the engine pinged meanwhile."""
_PING_S, _PARTS = 0.6, 3
"""An engine that does not answer a ping for so long is away: its calls are given up. The time is waited in parts, of
which a machine that stands still for a while costs one alone."""
_AWAY_S = 0.5
"""How long an engine that was found away is not asked again."""


class Engine:
    """Calls to the engine's API in a few threads, given up as soon as the engine itself no longer answers."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="engine")
        self._pings = ThreadPoolExecutor(2, thread_name_prefix="engine-ping")
        self._client: docker.DockerClient | None = None
        self._away_until = 0.0
        self._pinging: asyncio.Task[None] | None = None

    async def missing_image(self, image: str) -> bool:
        """Return whether the engine lacks the image; raises as `call` does."""
        try:
            await self.call(lambda client: client.images.get(image))
        except SandboxUnavailable as error:
            if isinstance(error.__cause__, docker.errors.ImageNotFound):
                return True
            raise
        return False

    async def create(
        self, settings: DockerSettings, labels: Mapping[str, str], doorstep: Doorstep | None = None
    ) -> str:
        """Create a container, whose worker dials in at `doorstep`, and return its id; raises as `call` does.

        Raises:
            FolderNotSeen: the engine has no such folder.
        """
        with _may_not_see(doorstep and doorstep.seen):
            return await self.call(lambda client: _create(client, settings, dict(labels), doorstep))

    async def attach(self, id: str) -> socket.socket:
        """Return a socket to the container's standard streams; raises as `call` does."""
        return await self.call(lambda client: _attach(client, id))

    async def start(self, id: str, doorstep: Path | None = None) -> None:
        """Start the container; raises as `create` does."""
        with _may_not_see(doorstep):
            await self.call(lambda client: client.api.start(id))

    async def remove(self, id: str) -> None:
        """Kill and remove the container, if there is one; raises as `call` does."""
        await self.call(lambda client: _remove(client, id))

    async def incarnation(self, id: str) -> str:
        """Return the container's id and when it last started; nothing if it does not run. Raises as `call` does."""
        return await self.call(lambda client: _incarnation(client, id)) if id else ""

    async def labelled(self, label: str) -> list[Mapping[str, Any]]:
        """Return the containers with that label, running or not; raises as `call` does."""
        return await self.call(lambda client: client.api.containers(all=True, filters={"label": label}))

    async def call(self, act: Act[T]) -> T:
        """Return what `act` returns.

        Raises:
            SandboxUnavailable: the engine does not answer, within a second, or refuses.
        """
        if time.monotonic() < self._away_until:
            raise _away("did not answer a moment ago, or is let go of")
        working = asyncio.get_running_loop().run_in_executor(self._threads, lambda: act(self._connected()))
        try:
            async with asyncio.timeout(_ENGINE_S):
                await self._watch(working)
                return await working
        except TimeoutError:
            raise _away(f"did not answer within {_ENGINE_S:g} s") from None
        except (docker.errors.DockerException, RequestException, OSError) as error:
            raise SandboxUnavailable(f"the Docker engine refused: {error}", remedy="is the engine up?") from error

    def close(self) -> None:
        """Close the connections; calls in progress end by themselves, later ones are refused."""
        self._away_until = float("inf")
        self._threads.shutdown(wait=False)
        self._pings.shutdown(wait=False)
        if self._client is not None:
            self._client.close()

    async def _watch(self, working: asyncio.Future[T]) -> None:
        """Return when the call is over; while it is not, see that the engine still answers pings."""
        while not (await asyncio.wait((working,), timeout=_PATIENCE_S))[0]:
            if self._pinging is None or self._pinging.done():
                self._pinging = asyncio.create_task(self._ping())
            ping = self._pinging
            await asyncio.wait((working, ping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and ping.done() and self._away_until > time.monotonic():
                working.add_done_callback(_forget)
                raise _away("is there and does not answer")

    async def _ping(self) -> None:
        try:
            async with asyncio.timeout(10 * _PING_S):
                await asyncio.get_running_loop().run_in_executor(self._pings, _ping)
        except (TimeoutError, OSError, docker.errors.DockerException, RequestException):
            self._away_until = time.monotonic() + _AWAY_S

    def _connected(self) -> docker.DockerClient:
        _look_for_engine()
        if self._client is None:
            self._client = docker.from_env(timeout=int(_ENGINE_S) - 5, max_pool_size=_THREADS)
        return self._client


@contextmanager
def _may_not_see(folder: Path | None) -> Generator[None]:
    """Raise `FolderNotSeen` where the engine refuses for want of `folder`."""
    try:
        yield
    except SandboxUnavailable as error:
        refused = isinstance(error.__cause__, docker.errors.APIError)
        if folder is not None and refused and "mount" in str(error.__cause__).lower():
            raise FolderNotSeen(error.message) from error
        raise


def _away(what: str) -> SandboxUnavailable:
    return SandboxUnavailable(f"the Docker engine {what}", remedy="is the engine up?")


def _forget(future: asyncio.Future[Any]) -> None:
    """Take in how a call ended that nobody waits for any more."""
    if not future.cancelled():
        future.exception()


def _ping() -> None:
    """Return if the engine answers at once; over a connection of its own, so that nothing stands before it."""
    address = str(docker.utils.parse_host(os.environ.get("DOCKER_HOST")))
    if not address.startswith(_SOCKET):
        docker.from_env(timeout=int(2 * _PING_S) or 1).close()
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PING_S)
        probe.connect(address.removeprefix(_SOCKET))
        probe.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
        if not _heard(probe).startswith(b"HTTP/1."):
            raise ConnectionError("no answer to a ping")


def _heard(probe: socket.socket) -> bytes:
    probe.settimeout(_PING_S / _PARTS)
    for _ in range(_PARTS - 1):
        with suppress(TimeoutError):
            return probe.recv(64)
    return probe.recv(64)


def _look_for_engine() -> None:
    """Raise OSError if nobody listens at the engine's socket; the client itself would leave its own open then."""
    address = str(docker.utils.parse_host(os.environ.get("DOCKER_HOST")))
    if address.startswith(_SOCKET):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_ENGINE_S / 4)
            probe.connect(address.removeprefix(_SOCKET))


def _create(
    client: docker.DockerClient, settings: DockerSettings, labels: dict[str, str], doorstep: Doorstep | None
) -> str:
    """Create a container and return its id. Source: Docker Engine API, POST /containers/create."""
    worker = {"idle_exit_s": settings.orphan_exits_after_s, "keeps_temporary": settings.keep_temporary}
    worker |= installing_of(settings.installing)
    user = new_user()
    host = walls(client, settings, user)
    if doorstep is None:
        host |= {"ExtraHosts": ["cell:127.0.0.1"], "Dns": ["127.0.0.1"]}
    else:
        worker["dial"] = f"{_DOORSTEP}/{DOOR}"
        seen = {_DOORSTEP: doorstep.seen, **doorstep.lay_papers(user)}.items()
        host["Mounts"] = [Mount(at, str(it), type="bind", read_only=True) for at, it in seen]
    created = client.api.create_container(
        settings.image,
        command=[json.dumps(worker)],
        name=f"{settings.platform}-cell-{secrets.token_hex(6)}",
        hostname="cell",
        user=f"{user}:{user}",
        working_dir="/workspace",
        stdin_open=True,
        network_disabled=doorstep is not None,  # else the engine, though there is no network, knows localhost by name
        labels=labels,
        host_config=host,
    )
    return str(created["Id"])


def new_user() -> int:
    """Return the number of a user that hardly another container has."""
    return _FIRST_USER + secrets.randbelow(_USERS)


def walls(client: docker.DockerClient, settings: DockerSettings, user: int) -> dict[str, Any]:
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
        sysctls=_sysctls(settings),
        pids_limit=limits.processes,
        mem_limit=limits.memory_bytes,
        memswap_limit=limits.memory_bytes,
        cpu_period=_PERIOD_US,
        cpu_quota=int(_PERIOD_US * limits.cpus),
        tmpfs={
            "/workspace": f"{scratch},uid={user},gid={user}",
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


def _sysctls(settings: DockerSettings) -> dict[str, str]:
    """Bound System V memory, which outlives whoever took it: where it is all there is, the kernel kills the worker."""
    if settings.runtime is not None:  # its kernel may have no such setting
        return {}
    return {"kernel.shmall": str(settings.limits.disk_bytes // _PAGE)}


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


def _incarnation(client: docker.DockerClient, id: str) -> str:
    try:
        state = client.api.inspect_container(id)["State"]
    except docker.errors.NotFound:
        return ""
    return f"{id}@{state['StartedAt']}" if state["Running"] else ""


def _remove(client: docker.DockerClient, id: str) -> None:
    try:
        client.api.remove_container(id, force=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:
            raise
        _wait_until_gone(client, id)


def _wait_until_gone(client: docker.DockerClient, id: str) -> None:
    """Return once a removal that goes on already, as the engine's own of a container that ended, is done."""
    until = time.monotonic() + _ENGINE_S / 4
    while time.monotonic() < until:
        try:
            client.api.inspect_container(id)
        except docker.errors.NotFound:
            return
        time.sleep(0.02)

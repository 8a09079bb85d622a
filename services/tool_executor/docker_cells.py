"""Cells made of Docker containers."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.cells import Cell, CellLost, Lives
from services.tool_executor.dialled import DialledPipe
from services.tool_executor.docker_engine import Engine
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.doorsteps import Doorstep, Doorsteps, FolderNotSeen
from services.tool_executor.installing import gate_of
from services.tool_executor.line import Line
from services.tool_executor.owner import Owner, own_container
from services.tool_executor.pipes import AttachedPipe
from services.tool_executor.worker_cell import WorkerCell

log = logging.getLogger(__name__)

PLATFORM, INSTANCE, OWNER, SESSION = "natscope.platform", "natscope.instance", "natscope.owner", "natscope.session"
HOUSE = "natscope.house"
"""The executor's own container and when it started, where it runs in one of the same engine: the engine then knows at
once that the executor is dead, though its process table cannot be seen and its sign of life is still there."""
PROGRAM = "natscope.program"
"""On a container that is no cell: it holds a program of the operator's."""
_BY_SHIM = "io.containerd."
"""A runtime of such a name is a program of the engine's host, which the engine need not list."""
_GREETING_S = 15.0
_PAUSES_S = (1.0, 2.0)
"""Between the attempts to reach an engine that is there and silent: what is found at the start holds for good."""
_NOT_THERE = (FileNotFoundError, ConnectionRefusedError, PermissionError)
_LATE_S, _LOOK_S = 3.0, 0.2
"""How long after a creation that was not answered the engine may still come to make the container."""
_UNCLAIMED_S = 30.0
"""A container of ours that is older than this, no cell and none in the making: its maker never got an answer."""


class DockerCells:
    """Implements `Backend`: a hardened container per cell, its worker attached over standard input and output."""

    name = "docker"
    does_not_limit: tuple[str, ...] = ()

    def __init__(self, settings: DockerSettings, owner: Owner, engine: Engine | None = None) -> None:
        self._settings = settings
        self._owner = owner
        self._engine = engine or Engine()
        self._doorsteps = Doorsteps(settings.doorsteps, owner)
        self._open: dict[str, WorkerCell] = {}
        self._making: set[str] = set()
        self._unremoved: set[str] = set()
        self._house = ""
        self._late_until = 0.0

    async def problem(self) -> str | None:
        """Return why no cell can be made here, or None if one can; an engine that does not answer is asked again."""
        for pause_s in (*_PAUSES_S, None):
            try:
                await self._look_at_the_house(own_container())
                return await self._lacking() or await self._fault_of_the_runtime()
            except SandboxUnavailable as error:
                if pause_s is None or isinstance(error.__cause__, _NOT_THERE):
                    return error.message
            await asyncio.sleep(pause_s)
        return None

    async def _look_at_the_house(self, id: str) -> None:
        """Know the container that this process is in, if it is in one of the engine's; raises as `Engine.call` does."""
        self._house = await self._engine.incarnation(id)
        if self._house:
            found = await self._engine.call(lambda client: client.api.inspect_container(id))
            self._doorsteps.look_through(found["Mounts"])

    async def _lacking(self) -> str | None:
        """Return what the engine does not have of what cells are made with; raises as `Engine.call` does."""
        image, runtime = self._settings.image, self._settings.runtime
        if await self._engine.missing_image(image):
            return f"the engine has no image {image!r}: build it with `make sandbox-image`"
        if runtime is None or runtime.startswith(_BY_SHIM):
            return None
        there = (await self._engine.call(lambda client: client.api.info())).get("Runtimes", {})
        return None if runtime in there else f"the engine has no runtime {runtime!r}, but {', '.join(sorted(there))}"

    async def _fault_of_the_runtime(self) -> str | None:
        """Return why no cell runs in the runtime that was asked for, which may be there and not work."""
        if self._settings.runtime is None:
            return None
        try:
            await (await self.open_cell("probe")).close()
        except SandboxUnavailable as error:
            return f"runtime {self._settings.runtime!r}: {error.message}"
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
        """Remove this platform's containers whose executor is dead, and those that could not be removed before."""
        found = await self._engine.labelled(f"{PLATFORM}={self._settings.platform}")
        self._unremoved &= {container["Id"] for container in found}
        return sum(await asyncio.gather(*(self._reap_orphan(container, lives) for container in found)))

    async def close(self) -> None:
        """Remove every container this process made."""
        await asyncio.gather(*(cell.close() for cell in tuple(self._open.values())), return_exceptions=True)
        with contextlib.suppress(SandboxUnavailable):
            await self._remove_own()
            while time.monotonic() < self._late_until:
                await asyncio.sleep(_LOOK_S)
                await self._remove_own()
        self._engine.close()

    async def _remove_own(self) -> None:
        for container in await self._engine.labelled(f"{PLATFORM}={self._settings.platform}"):
            labels = container["Labels"]
            if labels.get(INSTANCE) == self._owner.instance and PROGRAM not in labels:
                await self._remove(container["Id"])

    async def _make(self, session: str) -> WorkerCell:
        doorstep = self._doorsteps.new()
        try:
            return await self._make_with(doorstep, session)
        except FolderNotSeen as error:
            self._doorsteps.give_up(str(error))
        finally:
            if doorstep is not None:
                doorstep.close()
        return await self._make_with(None, session)

    async def _make_with(self, doorstep: Doorstep | None, session: str) -> WorkerCell:
        try:
            id = await self._engine.create(self._settings, self._labels(session), doorstep)
        except SandboxUnavailable:
            self._late_until = time.monotonic() + _LATE_S
            raise
        self._making.add(id)
        try:
            return self._cell(id, await self._start(id, doorstep))
        except CellLost as error:
            await self._remove(id)
            raise SandboxUnavailable(f"a container started, but its worker did not answer: {error}") from error
        except BaseException:
            await asyncio.shield(self._remove(id))
            raise
        finally:
            self._making.discard(id)

    async def _start(self, id: str, doorstep: Doorstep | None) -> Line:
        attached = AttachedPipe(*await asyncio.open_connection(sock=await self._engine.attach(id)))
        pipe = DialledPipe(attached, doorstep) if doorstep else attached
        line = Line(pipe, gate_of(self._settings.installing))
        try:
            await self._engine.start(id, doorstep.seen if doorstep else None)
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
        process_limits = {
            "open_files": limits.open_files,
            "file_bytes": limits.file_bytes,
            "processes": limits.processes - 2,
            "processors": max(1, int(limits.cpus)),
        }
        cell = self._open[id] = WorkerCell(line, remove=remove, process_limits=process_limits)
        return cell

    async def _reap_orphan(self, container: Mapping[str, Any], lives: Lives) -> bool:
        labels: dict[str, str] = container.get("Labels") or {}
        if not await self._is_orphan(container["Id"], container["Created"], labels, lives):
            return False
        await self._remove(container["Id"])
        log.info("orphan removed", extra={"container": container["Id"][:12], "session": labels.get(SESSION)})
        return True

    async def _is_orphan(self, id: str, created: int, labels: dict[str, str], lives: Lives) -> bool:
        if labels.get(INSTANCE) == self._owner.instance:
            if PROGRAM in labels or id in self._open or id in self._making:
                return False
            return id in self._unremoved or time.time() - created > _UNCLAIMED_S
        house = labels.get(HOUSE, "")
        if house and await self._engine.incarnation(house.partition("@")[0]) != house:
            return True
        return await self._owner.of_the_dead(labels.get(OWNER, ""), labels.get(INSTANCE, ""), lives)

    async def _remove(self, id: str) -> None:
        try:
            await self._engine.remove(id)
            self._unremoved.discard(id)
        except SandboxUnavailable as error:
            self._unremoved.add(id)
            log.warning("container not removed", extra={"container": id[:12], "reason": error.message})

    def _labels(self, session: str) -> dict[str, str]:
        return {
            PLATFORM: self._settings.platform,
            INSTANCE: self._owner.instance,
            OWNER: self._owner.mark,
            SESSION: session,
            HOUSE: self._house,
        }

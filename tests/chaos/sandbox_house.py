"""A tool executor of a house of its own, whose every part can be killed and whose every leftover can be found."""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import docker
import docker.errors
from docker.models.containers import Container

from natscope.bus import Bus
from natscope.contracts import tool
from services.tool_executor.docker_cells import OWNER, PLATFORM
from services.tool_executor.settings import Settings
from tests.chaos.leftovers import Found, processes
from tests.integration.tool_executor.engine_proxy import EngineProxy

ROOT = Path(__file__).resolve().parents[2]
POOL = 2
IMAGE = "natscope-sandbox:dev"


class House:
    """One executor, restarted whenever it is killed."""

    def __init__(self, bus: Bus, url: str, folder: Path, image: str | None) -> None:
        """Cells are Docker's, of `image`; None: bubblewrap's."""
        self.bus, self.image = bus, image
        self.platform = f"test-{uuid.uuid4().hex[:8]}"
        idle = timedelta(seconds=900, milliseconds=random.randrange(1_000_000))
        """On every worker's command line, and like no other house's."""
        after = Settings(idle_after=idle).orphan_exits_after.total_seconds()
        self.mark = json.dumps({"idle_exit_s": after}).strip("{}")
        self.sleeper = f"77.{uuid.uuid4().int % 10**9}"
        """How long the daemons of this house's programs sleep; like no other house's."""
        self.engine = docker.from_env(timeout=60) if image else None
        self.door = EngineProxy(folder / "engine.sock")
        self.scratch = folder / "scratch"
        self.log = folder / "log"
        self.made: set[str] = set()
        self.removed: set[str] = set()
        """Also those that the engine began to make when nobody waited any more, and gave up for want of their door."""
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}", "NATS_URL": url}
        self._environment |= {name: str(self.scratch) for name in ("HOME", "TMPDIR")}
        self._environment |= {"PYTHONDONTWRITEBYTECODE": "1", "DOCKER_HOST": self.door.address}
        settings = {"BACKEND": "docker" if image else "bubblewrap", "PLATFORM": self.platform, "IMAGE": image or ""}
        settings |= {"POOL": str(POOL), "IDLE_AFTER": str(idle.total_seconds())}
        self._environment |= {f"TOOL_EXECUTOR_{name}": value for name, value in settings.items()}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["House"]:
        """Run the executor for as long as the body runs; whatever the body leaves is removed."""
        self.scratch.mkdir()
        await self.door.restore()
        self._count_containers()
        self.start()
        try:
            await self.ready()
            yield self
        finally:
            await self.stop()
            for cell in self.cells():
                cell.remove(force=True)
            await self.door.cut()
            if self.engine is not None:
                self.engine.close()

    @property
    def pid(self) -> int:
        """Of the executor."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the executor."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "services.tool_executor"]
            self._process = subprocess.Popen(command, env=self._environment, cwd=self.scratch, stderr=log)

    async def ready(self) -> None:
        """Return when it answers."""
        async with asyncio.timeout(60):
            while not await self.bus.ask_all(tool.LIST, tool.List(), wait_s=0.1):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End the executor politely."""
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 60)

    def cells(self) -> list[Container]:
        """Return the house's containers, in whatever state they are."""
        if self.engine is None:
            return []
        label = f"{PLATFORM}={self.platform}"
        return self.engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)

    def volumes(self) -> list[str]:
        """Return what the cells have mounted that they can write to and that outlives a container."""
        mounts = (mount for cell in self.cells() for mount in cell.attrs["Mounts"])
        return [str(mount) for mount in mounts if mount["Type"] != "tmpfs" and mount["RW"]]

    def orphans(self) -> list[Container]:
        """Return the containers that belong to an executor of this house that is no more."""
        return [cell for cell in self.cells() if f"/{self.pid}/" not in cell.labels[OWNER]]

    def processes(self) -> list[Found]:
        """Return every process of the house but the executor: the cells' and all that they started."""
        return processes(self.mark, self.sleeper, *self.made)

    def workers(self) -> list[Found]:
        """Return the first process of each cell."""
        return [found for found in processes(self.mark) if found.inner == 1]

    def full(self) -> bool:
        """Return whether as many cells live as should stand ready, each with its worker."""
        return len(self.workers()) == POOL and (self.engine is None or len(self.cells()) == POOL)

    def refilling(self) -> Callable[[], bool]:
        """Return what tells whether as many cells were made since as should stand ready, whoever has taken them."""
        before, seen = {worker.pid for worker in self.workers()}, set[int]()

        def refilled() -> bool:
            seen.update(worker.pid for worker in self.workers())
            return len(seen - before) >= POOL

        return refilled

    async def kill(self, kind: str) -> None:
        """Kill one thing of the house; the executor and the engine are back when this returns."""
        await {"executor": self._kill_executor, "engine": self._kill_engine}.get(kind, lambda: self._kill_one(kind))()

    async def _kill_executor(self) -> None:
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self.start()
        await self.ready()

    async def _kill_engine(self) -> None:
        await random.choice((self.door.cut, self.door.hang))()
        await asyncio.sleep(random.uniform(0.1, 1))
        await self.door.restore()

    async def _kill_one(self, kind: str) -> None:
        with contextlib.suppress(docker.errors.APIError, ProcessLookupError):
            if kind == "container":
                cells = await asyncio.to_thread(self.cells)
                if cells:
                    await asyncio.to_thread(random.choice(cells).remove, force=True)
                return
            found = self.workers() if kind == "worker" else processes(self.mark, self.sleeper)
            if found:
                os.kill(random.choice(found).pid, 9)

    def _count_containers(self) -> None:
        if self.engine is None:
            return
        filters = {"label": f"{PLATFORM}={self.platform}", "type": "container", "event": ["create", "destroy"]}
        events = self.engine.events(decode=True, filters=filters)

        def count() -> None:
            with contextlib.suppress(Exception):
                for event in events:
                    (self.made if event["Action"] == "create" else self.removed).add(event["id"])

        threading.Thread(target=count, daemon=True).start()

    def errors(self) -> Counter[str]:
        """Return what the executors logged as errors, or said without logging, and how often."""
        said: Counter[str] = Counter()
        for line in self.log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                said[line[:100]] += 1
                continue
            if entry["level"] == "ERROR":
                said[entry["event"]] += 1
        return said


async def until(condition: Callable[[], object], *, seconds: float) -> float:
    """Return after how many seconds `condition` came true; it is asked in a thread."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)
    return time.monotonic() - began

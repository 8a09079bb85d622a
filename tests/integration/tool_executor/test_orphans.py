"""Nothing outlives its executor, however that one dies."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock, text_of
from services.tool_executor.backends import choose_backend
from services.tool_executor.docker_cells import HOUSE, INSTANCE, OWNER, PLATFORM, SESSION
from services.tool_executor.owner import Owner
from services.tool_executor.settings import Settings
from tests.chaos.leftovers import Found, processes

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., subprocess.Popen[bytes]]
OWN_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
MARK = "import sys; from services.tool_executor.owner import Owner; print(Owner.here('gone').mark)"


async def nobody_lives(instance: str) -> bool:
    return False


async def everybody_lives(instance: str) -> bool:
    return True


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The service's, with a time on its workers' command lines that no other house has."""
    return settings.model_copy(update={"idle_after": timedelta(seconds=900, milliseconds=random.randrange(1_000_000))})


async def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.1)


def remove(container: Container) -> None:
    """Remove a container, unless it is gone or somebody else is removing it."""
    try:
        container.remove(force=True)
    except docker.errors.APIError as error:
        if error.status_code not in (404, 409):
            raise


@pytest.fixture
def stray(engine: docker.DockerClient, image: str, platform: str) -> Iterator[Callable[..., Container]]:
    """Makes a container that runs on whatever becomes of its owner, as an engine that lost its clients may leave it."""
    made: list[Container] = []

    def _stray(mark: str, instance: str, *, house: str = "", platform: str = platform, runs: bool = True) -> Container:
        labels = {PLATFORM: platform, INSTANCE: instance, OWNER: mark, SESSION: "s", HOUSE: house}
        made.append(engine.containers.create(image, ["60"], entrypoint="sleep", labels=labels))
        if runs:
            made[-1].start()
        return made[-1]

    yield _stray
    for container in made:
        remove(container)


@pytest.fixture
def start_service(nats_url: str, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts the tool executor as a process of its own, below another program if one is named."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}",
        "NATS_URL": nats_url,
        "TOOL_EXECUTOR_BACKEND": settings.backend,
        "TOOL_EXECUTOR_IMAGE": settings.image,
        "TOOL_EXECUTOR_PLATFORM": settings.platform,
        "TOOL_EXECUTOR_IDLE_AFTER": str(settings.idle_after.total_seconds()),
    }

    def _start(*below: str, pool: int = 0) -> subprocess.Popen[bytes]:
        command = [*below, sys.executable, "-m", "services.tool_executor"]
        process = subprocess.Popen(command, env={**environment, "TOOL_EXECUTOR_POOL": str(pool)}, cwd=ROOT)
        started.append(process)
        return process

    yield _start
    for process in started:
        process.kill()
        process.wait()
    if started and settings.backend == "docker":
        # no executor of this platform will ever be there to reap what the killed ones had created and not yet started
        containers = request.getfixturevalue("engine").containers
        for container in containers.list(all=True, filters={"label": f"{PLATFORM}={settings.platform}"}):
            remove(container)


async def open_for_calls(bus: Bus) -> None:
    async with asyncio.timeout(90):
        while not await bus.ask_all(tool.LIST, tool.List(), wait_s=0.3):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.1)


def sleeper(call_id: str, bus_inbox: str, marker: str, *, cell: tool.CellMode = "session") -> tool.Call:
    code = f"print('begun')\nimport subprocess; subprocess.run(['sleep', '{marker}'])"
    call = ToolUseBlock(id="c1", name="execute_python", input={"code": code})
    return tool.Call(call_id=call_id, call=call, session="s1", cell=cell, deltas_to=bus_inbox)


def running(marker: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{marker}\0".encode():
                return True
        except OSError:
            continue
    return False


def workers(settings: Settings) -> list[Found]:
    """Return the first process of each cell, known by a length of time on its command line."""
    mark = json.dumps({"idle_exit_s": settings.orphan_exits_after.total_seconds()}).strip("{}")
    return [found for found in processes(mark) if found.inner == 1]


def kill(service: subprocess.Popen[bytes], *, below: bool) -> None:
    """Kill the executor itself, which may be the only child of the program that was started."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    os.kill(int(children[0]) if below else service.pid, signal.SIGKILL)
    service.wait()


class TestKilledWithAFullPool:
    @pytest.mark.parametrize("below", [(), OWN_NAMESPACE], ids=["beside us", "in a process namespace of its own"])
    async def test_soon_after_its_restart_no_cell_of_it_is_left(
        self,
        start_service: Start,
        nats_url: str,
        settings: Settings,
        request: pytest.FixtureRequest,
        below: tuple[str, ...],
    ) -> None:
        if below and os.getuid() != 0:
            pytest.skip("only root makes a process namespace without a user namespace around it")
        marker = f"60.{uuid.uuid4().int % 10**9}"
        containers = request.getfixturevalue("engine").containers if settings.backend == "docker" else None

        def ids() -> set[str]:
            found = (
                containers.list(all=True, filters={"label": f"{PLATFORM}={settings.platform}"}) if containers else ()
            )
            return {str(container.id) for container in found}

        async with connect("guest", BusSettings(url=nats_url)) as bus:
            service = start_service(*below, pool=2)
            await until(lambda: len(workers(settings)) == 2)
            await open_for_calls(bus)
            heard = await bus.nc.subscribe(inbox := bus.nc.new_inbox())
            asks = [sleeper(f"call-{n}", inbox, marker, cell=cell) for n, cell in enumerate(("one_shot", "session"))]
            asking = [asyncio.create_task(bus.ask(tool.CALL, ask, "execute_python", deadline_s=1)) for ask in asks]
            for _ in asks:
                await heard.next_msg(timeout=20)
            await until(lambda: len(workers(settings)) == 4 and len(processes(marker)) == 2)
            cells, programs = ids(), {found.pid for found in [*workers(settings), *processes(marker)]}
            kill(service, below=bool(below))
            start_service(*below, pool=2)
            await open_for_calls(bus)
            await until(lambda: not (cells & ids() or programs & {found.pid for found in processes("")}), seconds=60)
            await asyncio.gather(*asking, return_exceptions=True)


class TestKilled:
    async def test_its_programs_end_and_the_call_is_told_as_unknown(
        self, start_service: Start, nats_url: str, settings: Settings, request: pytest.FixtureRequest
    ) -> None:
        marker = f"60.{uuid.uuid4().int % 10**9}"
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            first = start_service()
            await open_for_calls(bus)
            heard = await bus.nc.subscribe(inbox := bus.nc.new_inbox())
            ask = sleeper("call-1", inbox, marker)
            asking = asyncio.create_task(bus.ask(tool.CALL, ask, "execute_python", deadline_s=3))
            await heard.next_msg(timeout=20)
            await until(lambda: running(marker))
            first.kill()
            first.wait()
            await until(lambda: not running(marker))
            await asyncio.gather(asking, return_exceptions=True)
            start_service()
            await open_for_calls(bus)
            if settings.backend == "docker":
                found = request.getfixturevalue("engine").containers
                await until(lambda: not found.list(all=True, filters={"label": f"{PLATFORM}={settings.platform}"}))
            again = await bus.ask(tool.CALL, ask, "execute_python", deadline_s=40)
            assert again.result.state == "unknown"
            assert "was not carried out again" in text_of(again.result.output)
            assert not running(marker)

    async def test_a_polite_end_leaves_nothing_either(
        self, start_service: Start, nats_url: str, settings: Settings, request: pytest.FixtureRequest
    ) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            service = start_service()
            await open_for_calls(bus)
            call = ToolUseBlock(id="c1", name="execute_shell", input={"command": "echo hello"})
            await bus.ask(tool.CALL, tool.Call(call_id="c-1", call=call, session="s1"), "execute_shell")
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
        if settings.backend == "docker":
            found = request.getfixturevalue("engine").containers
            assert not found.list(all=True, filters={"label": f"{PLATFORM}={settings.platform}"})


@pytest.mark.docker
class TestReaping:
    def _dead_mark(self) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"}
        done = subprocess.run([sys.executable, "-c", MARK], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    async def test_only_what_belongs_to_the_dead_is_removed(
        self, stray: Callable[..., Container], image: str, platform: str
    ) -> None:
        of_the_dead = stray(self._dead_mark(), "gone")
        elsewhere_dead = stray("other-machine/pid:[1]/7/7", "gone-too")
        never_started = stray(self._dead_mark(), "gone-before-the-start", runs=False)
        of_the_living = stray(Owner.here("somebody").mark, "somebody")
        backend = await choose_backend(Settings(backend="docker", image=image, platform=platform), instance="me")
        cell = await backend.open_cell("s")
        assert await backend.reap(nobody_lives) == 3
        of_the_living.reload()
        for container in (of_the_dead, elsewhere_dead, never_started):
            with pytest.raises(docker.errors.NotFound):
                container.reload()
        assert not cell.lost
        await backend.close()

    @pytest.mark.parametrize("settings", ["docker"], indirect=True)
    async def test_is_done_before_an_executor_answers(
        self, stray: Callable[..., Container], start_service: Start, nats_url: str
    ) -> None:
        of_the_dead = stray(self._dead_mark(), "gone")
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            start_service()
            await open_for_calls(bus)
        with pytest.raises(docker.errors.NotFound):
            of_the_dead.reload()

    async def test_the_engine_knows_when_an_executor_in_a_container_has_died(
        self, stray: Callable[..., Container], image: str, platform: str
    ) -> None:
        house = stray("another-house's", "no-cell", platform="elsewhere")
        house.reload()
        incarnation = f"{house.id}@{house.attrs['State']['StartedAt']}"
        cell = stray("elsewhere/pid:[1]/7/7", "executor-in-a-container", house=incarnation)
        backend = await choose_backend(Settings(backend="docker", image=image, platform=platform), instance="me")
        assert await backend.reap(everybody_lives) == 0, "the control: it is alive"
        await asyncio.to_thread(house.restart, timeout=0)
        assert await backend.reap(everybody_lives) == 1
        with pytest.raises(docker.errors.NotFound):
            cell.reload()
        await backend.close()

    async def test_another_machine_s_cells_are_left_alone_while_their_executor_gives_signs_of_life(
        self, stray: Callable[..., Container], image: str, platform: str
    ) -> None:
        elsewhere = stray("other-machine/pid:[1]/7/7", "alive")
        backend = await choose_backend(Settings(backend="docker", image=image, platform=platform), instance="me")
        assert await backend.reap(everybody_lives) == 0
        elsewhere.reload()
        await backend.close()

    async def test_another_house_s_cells_are_left_alone(self, stray: Callable[..., Container], image: str) -> None:
        other = stray(self._dead_mark(), "gone")
        backend = await choose_backend(Settings(backend="docker", image=image, platform="elsewhere"), instance="me")
        assert await backend.reap(nobody_lives) == 0
        other.reload()
        await backend.close()


@pytest.mark.docker
class TestWalls:
    async def test_a_cell_s_container_is_what_it_says(
        self, engine: docker.DockerClient, image: str, platform: str
    ) -> None:
        backend = await choose_backend(Settings(backend="docker", image=image, platform=platform), instance="me")
        await backend.open_cell("session-9")
        (container,) = engine.containers.list(filters={"label": f"{PLATFORM}={platform}"})
        assert container.labels[SESSION] == "session-9"
        host = container.attrs["HostConfig"]
        assert (host["NetworkMode"], host["CapDrop"], host["ReadonlyRootfs"]) == ("none", ["ALL"], True)
        assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (512 << 20, 512 << 20, 128)
        assert host["IpcMode"] == "private"
        assert "no-new-privileges" in host["SecurityOpt"]
        assert not host["Binds"]
        assert host["LogConfig"]["Type"] == "none"
        assert int(container.attrs["Config"]["User"].split(":")[0]) > 1_000_000
        await backend.close()
        assert not engine.containers.list(all=True, filters={"label": f"{PLATFORM}={platform}"})

"""Workers of Docker's cells that dial in, what is left of where they do, and what happens where they cannot."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.tool_executor.cells import Cell, CellLost, Program, RunLimits
from services.tool_executor.dialled import DialledPipe
from services.tool_executor.docker_cells import DockerCells
from services.tool_executor.docker_engine import Engine
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.doorsteps import DOOR, Doorstep, Doorsteps, FolderNotSeen, behind
from services.tool_executor.frames import encode
from services.tool_executor.line import Line
from services.tool_executor.owner import Owner
from services.tool_executor.pipes import AttachedPipe
from services.tool_executor.settings import Settings

CONTROL_STREAM = """
import os
try:
    print(os.readlink('/proc/1/fd/0'))
except OSError as error:
    print(type(error).__name__)
print(os.path.ismount('/run/natscope'), os.listdir('/run/natscope'))
for attack in (lambda: os.mkdir('/run/natscope/x'), lambda: os.symlink('/etc', '/run/natscope/door')):
    try:
        attack()
    except OSError as error:
        print('refused')
"""
GREETING = encode({"event": "ready"})
READY = b"\x01\x00\x00\x00" + len(GREETING).to_bytes(4, "big") + GREETING
"""As the engine's stream has it."""


async def told(cell: Cell, source: str) -> str:
    return (await cell.run(Program("python", source), RunLimits())).stdout.text


def left_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def remove_all(platform: str) -> None:
    listed = ["docker", "ps", "-q", "--filter", f"label=natscope.platform={platform}"]
    found = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["docker", "rm", "-f", *found], capture_output=True, check=True)


class Unmounting(Engine):
    """An engine that finds out at the start of a container that it cannot mount the folder."""

    async def start(self, id: str, doorstep: Path | None = None) -> None:
        if doorstep is not None:
            raise FolderNotSeen("error mounting: permission denied")
        await super().start(id)


@pytest.fixture
async def cells(image: str, platform: str) -> AsyncIterator[Callable[[Path | None], DockerCells]]:
    """Makes cells whose doors are in the folder that is given."""
    settings = DockerSettings.of(Settings(image=image, platform=platform))
    async with AsyncExitStack() as open:

        def make(doorsteps: Path | None) -> DockerCells:
            made = DockerCells(replace(settings, doorsteps=doorsteps), Owner.here("test"))
            open.push_async_callback(made.close)
            return made

        yield make


@pytest.mark.docker
class TestACell:
    async def test_is_reached_by_a_socket_of_which_nothing_is_left(
        self, cells: Callable[[Path | None], DockerCells], tmp_path: Path
    ) -> None:
        cell = await cells(tmp_path).open_cell("s")
        assert left_in(tmp_path) == []
        assert await told(cell, CONTROL_STREAM) == "PermissionError\nTrue []\nrefused\nrefused\n"

    async def test_is_reached_by_the_engines_stream_where_the_engine_does_not_see_the_folder(
        self, cells: Callable[[Path | None], DockerCells], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        ours_alone = os.open(tmp_path, os.O_RDONLY)
        try:
            backend = cells(Path(f"/proc/self/fd/{ours_alone}"))
            for session in ("a", "b"):
                assert await told(await backend.open_cell(session), "print(1)") == "1\n"
        finally:
            os.close(ours_alone)
        assert [record.getMessage() for record in caplog.records] == ["workers cannot dial in"]

    async def test_is_reached_by_the_engines_stream_where_the_folder_cannot_be_mounted(
        self, image: str, platform: str, tmp_path: Path
    ) -> None:
        settings = DockerSettings.of(Settings(image=image, platform=platform, doorsteps=tmp_path))
        backend = DockerCells(settings, Owner.here("test"), Unmounting())
        assert await told(await backend.open_cell("s"), "print(1)") == "1\n"
        assert left_in(tmp_path) == []
        await backend.close()

    async def test_is_reached_by_the_engines_stream_where_there_is_no_folder(
        self, cells: Callable[[Path | None], DockerCells]
    ) -> None:
        cell = await cells(None).open_cell("s")
        assert await told(cell, "import os; print(os.path.exists('/run/natscope'))") == "False\n"
        assert await told(cell, "import socket; print(*map(socket.gethostbyname, ('localhost', 'cell')))") == (
            "127.0.0.1 127.0.0.1\n"
        )

    async def test_is_lost_when_its_container_is_removed(
        self, cells: Callable[[Path | None], DockerCells], tmp_path: Path, platform: str
    ) -> None:
        cell = await cells(tmp_path).open_cell("s")
        running = asyncio.create_task(cell.run(Program("python", "import time; time.sleep(60)"), RunLimits()))
        await asyncio.to_thread(remove_all, platform)
        with pytest.raises(CellLost):
            await running


@asynccontextmanager
async def line_over(folder: Path) -> AsyncIterator[tuple[Line, socket.socket, Doorstep]]:
    """A line to a worker that has not greeted; the engine's end of its stream, and the doorstep."""
    ours, engine = socket.socketpair()
    top = folder / "top"
    top.mkdir()
    doorstep = Doorstep(top)
    with engine:
        line = Line(DialledPipe(AttachedPipe(*await asyncio.open_connection(sock=ours)), doorstep))
        try:
            yield line, engine, doorstep
        finally:
            await line.close()


def dialled_in(doorstep: Doorstep) -> socket.socket:
    worker = socket.socket(socket.AF_UNIX)
    worker.connect(str(doorstep.folder / DOOR))
    return worker


class TestTheLineToAWorker:
    async def test_is_its_own_connection_and_nobody_else_can_dial_in(self, tmp_path: Path) -> None:
        async with line_over(tmp_path) as (line, _, doorstep):
            with dialled_in(doorstep) as worker:
                worker.sendall(GREETING)
                await line.ready(within_s=20)
                assert not doorstep.folder.exists()

    async def test_is_the_engines_stream_where_it_greets_there(self, tmp_path: Path) -> None:
        async with line_over(tmp_path) as (line, engine, doorstep):
            engine.sendall(READY)
            await line.ready(within_s=20)
            await line.send({"op": "ping"})
            assert b"ping" in engine.recv(100)
            assert not line.lost
        assert not doorstep.folder.exists()

    @pytest.mark.parametrize("said", [b"", READY], ids=["end", "speak where no worker does"])
    async def test_ends_when_the_engines_stream_does_or_says_what_it_should_not(
        self, tmp_path: Path, said: bytes
    ) -> None:
        async with line_over(tmp_path) as (line, engine, doorstep):
            with dialled_in(doorstep) as worker:
                worker.sendall(GREETING)
                await line.ready(within_s=20)
                engine.sendall(said) if said else engine.close()
                async with asyncio.timeout(20):
                    while not line.lost:  # noqa: ASYNC110 - nothing tells of it
                        await asyncio.sleep(0.01)
                with contextlib.suppress(ConnectionError):
                    assert worker.recv(1) == b""

    async def test_that_is_closed_before_anybody_came_leaves_nothing(self, tmp_path: Path) -> None:
        async with line_over(tmp_path):
            await asyncio.sleep(0)
        assert left_in(tmp_path) == []


class TestAFolderInAContainer:
    @pytest.mark.parametrize(
        ("mounts", "seen"),
        [
            ({}, "/doors/a"),
            ({"/doors": "/volumes/x"}, "/volumes/x/a"),
            ({"/doors/a": "/volumes/y", "/doors": "/volumes/x"}, "/volumes/y"),
            ({"/door": "/volumes/x", "/": ""}, "/doors/a"),
        ],
    )
    def test_is_what_the_engine_mounted_there(self, mounts: dict[str, str], seen: str) -> None:
        told = [{"Destination": inside, "Source": outside} for inside, outside in mounts.items()]
        assert behind(Path("/doors/a"), told) == Path(seen)

    @pytest.mark.docker
    async def test_is_mounted_from_where_the_engine_has_it(self, image: str, platform: str, tmp_path: Path) -> None:
        held = os.open(tmp_path, os.O_RDONLY)
        ours = Path(f"/proc/self/fd/{held}")
        doorsteps, engine = Doorsteps(ours, Owner.here("test")), Engine()
        doorsteps.look_through([{"Destination": str(ours), "Source": str(tmp_path)}])
        doorstep = doorsteps.new()
        assert doorstep is not None
        id = await engine.create(DockerSettings.of(Settings(image=image, platform=platform)), {}, doorstep)
        mounts = await engine.call(lambda client: client.api.inspect_container(id)["Mounts"])
        sources = {mount["Destination"]: mount["Source"] for mount in mounts if mount["Type"] == "bind"}
        assert sorted(sources) == ["/etc/group", "/etc/hosts", "/etc/passwd", "/run/natscope"]
        assert all(source.startswith(f"{doorstep.seen}") for source in sources.values())
        assert doorstep.seen.is_relative_to(tmp_path)
        await engine.remove(id)
        engine.close()
        doorstep.close()
        os.close(held)


MAKER = """
import sys
from pathlib import Path
from services.tool_executor.doorsteps import Doorsteps
from services.tool_executor.owner import Owner
Doorsteps(Path(sys.argv[1]), Owner.here("a")).new()
print("made", flush=True)
sys.stdin.read()
"""


class TestWhatAKilledProcessLeft:
    def test_is_removed_by_the_next_and_what_a_living_one_needs_is_not(self, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", MAKER, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"made\n"
            (theirs,) = tmp_path.iterdir()
            first = Doorsteps(tmp_path, Owner.here("b")).new()
            assert theirs in tmp_path.iterdir()
            other.kill()
            other.wait()
        second = Doorsteps(tmp_path, Owner.here("b")).new()
        assert first is not None
        assert second is not None
        assert set(tmp_path.iterdir()) == {first.folder.parent, second.folder.parent}
        first.close()
        second.close()
        assert left_in(tmp_path) == []

    def test_is_removed_when_it_is_old_wherever_the_process_was(self, tmp_path: Path) -> None:
        old, new = (tmp_path / f"natscope-cell-elsewhere-7-12345-{name}" for name in ("old", "new"))
        old.mkdir()
        new.mkdir()
        os.utime(old, (0, 0))
        made = Doorsteps(tmp_path, Owner.here("b")).new()
        assert made is not None
        made.close()
        assert left_in(tmp_path) == [new]

"""What cells reach when the operator lets programs install packages, and that it is nothing otherwise."""

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pip
import pytest

from natscope.addresses import is_public
from services.tool_executor.backends import choose_backend
from services.tool_executor.cells import Cell, Language, Outcome, Program, RunLimits
from services.tool_executor.gate import Gate, NotLetOut
from services.tool_executor.settings import Settings
from tests.integration.tool_executor.package_index import NAME, Index, package_index

ROOT = Path(__file__).resolve().parents[3]

ASK = """
import socket, sys
with socket.create_connection(("127.0.0.1", 3128), 20) as way:
    way.sendall({request!r})
    print(way.recv(4096).decode().splitlines()[0])
"""
REPEAT = """
import socket, threading
def talk(number):
    with socket.create_connection(("127.0.0.1", 3128), 20) as way:
        way.sendall(b"CONNECT localhost:{port} HTTP/1.1\\r\\n\\r\\n")
        assert way.recv(4096).startswith(b"HTTP/1.1 200")
        threading.Thread(target=way.sendall, args=(bytes([number]) * {size},), daemon=True).start()
        came = 0
        while came < {size}:
            data = way.recv(1 << 16)
            assert set(data) == {{number}}, "another's bytes"
            came += len(data)
    done.append(number)
done = []
threads = [threading.Thread(target=talk, args=(number,)) for number in range({talks})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sorted(done) == list(range({talks})))
"""


@asynccontextmanager
async def cell_of(settings: Settings, **more: Any) -> AsyncIterator[Cell]:
    """Open a cell under settings that differ in what may be installed."""
    backend = await choose_backend(settings.model_copy(update=more), instance="instance-1")
    try:
        yield await backend.open_cell("session-1")
    finally:
        await backend.close()


async def run(cell: Cell, source: str, language: Language = "python", *, stateful: bool = False) -> Outcome:
    limits = RunLimits(wall_clock=timedelta(seconds=120))
    return await cell.run(Program(language, source, stateful), limits)


async def asked(cell: Cell, request: bytes) -> str:
    """Return the first line of what the cell's proxy answers."""
    outcome = await run(cell, ASK.format(request=request))
    return (outcome.stdout.text or outcome.stderr.text.splitlines()[-1]).strip()


async def connected(cell: Cell, target: str) -> str:
    return await asked(cell, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    """A package index on this machine."""
    async with package_index(tmp_path) as found:
        yield found


@pytest.fixture
async def parrot() -> AsyncIterator[int]:
    """The port of a server that says again what it hears."""
    import asyncio

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(repeat, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture(scope="session")
def image_with_pip(image: str) -> str:
    """The cells' image with pip, which the base that is built here does not have."""
    folder = Path(pip.__file__).parent
    recipe = ROOT / "sandbox" / "packages.Dockerfile"
    content = hashlib.sha256(recipe.read_bytes() + pip.__version__.encode()).hexdigest()[:6]
    tag = f"{image}-pip-{content}"
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False).returncode == 0:
        return tag
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(recipe, "Dockerfile")
        archive.add(folder, "packages/pip", filter=lambda member: None if "__pycache__" in member.name else member)
    command = ["docker", "build", "-q", "--build-arg", f"CELL_IMAGE={image}", "-t", tag, "-"]
    built = subprocess.run(command, input=packed.getvalue(), capture_output=True, check=False)
    assert built.returncode == 0, built.stderr
    return tag


@pytest.mark.docker
class TestAPackage:
    @pytest.fixture
    def settings(self, image_with_pip: str, platform: str) -> Settings:
        return Settings(backend="docker", image=image_with_pip, platform=platform)

    def install(self, index: Index, name: str = NAME) -> str:
        return f"python3 -m pip install -q --retries 0 --trusted-host localhost:{index.port} {name}"

    async def test_is_installed_through_the_proxy_and_imported_by_every_kind_of_program(
        self, settings: Settings, index: Index
    ) -> None:
        more = {"install_hosts": (f"localhost:{index.port}",), "install_private": True, "install_index": index.url}
        async with cell_of(settings, **more) as cell:
            installed = await run(cell, self.install(index), "shell")
            assert installed.exit_code == 0, installed.stderr.text
            assert (await run(cell, f"import {NAME}; print({NAME}.ANSWER)")).stdout.text == "42\n"
            assert (await run(cell, f"import {NAME}; {NAME}.ANSWER", stateful=True)).stdout.text == "42\n"
            shell = await run(cell, f"cd /tmp && python3 -c 'import {NAME}; print({NAME}.ANSWER)'", "shell")
            assert shell.stdout.text == "42\n"
        assert index.asked[0] == f"/simple/{NAME}/"

    async def test_is_not_installed_unless_the_operator_wants_it(self, settings: Settings, index: Index) -> None:
        async with cell_of(settings) as cell:
            command = f"{self.install(index)} --index-url {index.url} --target /workspace/p"
            assert (await run(cell, command, "shell")).exit_code != 0
        assert index.asked == []

    async def test_is_not_installed_from_a_host_that_is_not_listed(
        self, settings: Settings, index: Index, caplog: pytest.LogCaptureFixture
    ) -> None:
        more = {"install_hosts": ("example.org",), "install_private": True, "install_index": index.url}
        async with cell_of(settings, **more) as cell:
            assert (await run(cell, self.install(index), "shell")).exit_code != 0
        assert f"localhost:{index.port} is not on the list" in str(caplog.records[-1].__dict__["reason"])
        assert index.asked == []


class TestTheProxy:
    async def test_lets_out_to_what_is_listed_and_nowhere_else(self, settings: Settings, parrot: int) -> None:
        async with cell_of(settings, install_hosts=(f"localhost:{parrot}",), install_private=True) as cell:
            assert await connected(cell, f"localhost:{parrot}") == "HTTP/1.1 200 Connected"
            for target in (f"127.0.0.1:{parrot}", "localhost:443", "localhost:22", f"localhost.:{parrot + 1}"):
                assert (await connected(cell, target)).startswith("HTTP/1.1 403"), target
            for strange in ("localhost", "localhost:0", "localhost:99999", "a b:443", "[::1", "x" * 300 + ":443"):
                assert (await connected(cell, strange)).split()[1] in ("400", "405"), strange

    async def test_refuses_what_is_not_public_though_it_is_listed(self, settings: Settings, parrot: int) -> None:
        listed = (f"localhost:{parrot}", f"127.0.0.1:{parrot}", f"[::ffff:127.0.0.1]:{parrot}", "169.254.169.254:80")
        async with cell_of(settings, install_hosts=listed) as cell:
            for target in listed:
                assert (await connected(cell, target)).startswith("HTTP/1.1 403"), target
        async with cell_of(settings, install_hosts=listed, install_private=True) as cell:
            assert await connected(cell, listed[2]) == "HTTP/1.1 200 Connected", "the control"

    @pytest.mark.parametrize("request_line", [b"GET http://localhost/ HTTP/1.1", b"CONNECT", b"\x16\x03\x01"])
    async def test_knows_connect_alone(self, settings: Settings, request_line: bytes) -> None:
        async with cell_of(settings, install_hosts=("*",), install_private=True) as cell:
            assert (await asked(cell, request_line + b"\r\n\r\n")).startswith("HTTP/1.1 405")
            assert (await asked(cell, b"x" * 9000)).startswith("HTTP/1.1 431")

    async def test_is_not_there_unless_the_operator_wants_it(self, settings: Settings) -> None:
        async with cell_of(settings) as cell:
            assert "ConnectionRefusedError" in await connected(cell, "localhost:443")

    async def test_gives_a_cell_no_other_way_out(self, settings: Settings, parrot: int) -> None:
        source = "import socket; print([name for _, name in socket.if_nameindex()])\n"
        source += f"socket.create_connection(('127.0.0.1', {parrot}), 2)"
        async with cell_of(settings, install_hosts=(f"localhost:{parrot}",), install_private=True) as cell:
            outcome = await run(cell, source)
        assert outcome.stdout.text == "['lo']\n"
        assert "ConnectionRefusedError" in outcome.stderr.text

    async def test_is_no_descriptor_of_a_program(self, settings: Settings, parrot: int) -> None:
        source = "import os; print([os.readlink(f'/proc/self/fd/{n}')[:6] for n in os.listdir('/proc/self/fd')[:-1]])"
        async with cell_of(settings, install_hosts=(f"localhost:{parrot}",), install_private=True) as cell:
            for stateful in (False, True):
                assert "socket" not in (await run(cell, source, stateful=stateful)).stdout.text

    async def test_carries_many_long_talks_at_once_without_mixing_them(self, settings: Settings, parrot: int) -> None:
        source = REPEAT.format(port=parrot, size=1_000_000, talks=8)
        async with cell_of(settings, install_hosts=(f"localhost:{parrot}",), install_private=True) as cell:
            outcome = await run(cell, source)
        assert outcome.stdout.text == "True\n", outcome.stderr.text

    async def test_leaves_the_cell_in_order_when_a_program_ends_in_the_middle(
        self, settings: Settings, parrot: int
    ) -> None:
        begun = ASK.format(request=f"CONNECT localhost:{parrot} HTTP/1.1\r\n\r\n".encode()).replace(
            "    print", "    way.sendall(b'x' * 100000)\n    print"
        )
        async with cell_of(settings, install_hosts=(f"localhost:{parrot}",), install_private=True) as cell:
            for _ in range(20):
                assert (await run(cell, begun + "\n    import os; os._exit(0)")).exit_code == 0
            assert await connected(cell, f"localhost:{parrot}") == "HTTP/1.1 200 Connected"
            assert await cell.list_files() is not None

    async def test_gives_a_program_more_connections_than_it_carries_an_end_and_no_hang(
        self, settings: Settings, parrot: int
    ) -> None:
        source = """
import socket
ways = [socket.create_connection(("127.0.0.1", 3128), 20) for _ in range(24)]
for way in ways:
    way.settimeout(20)
    try:
        way.sendall(b"CONNECT localhost:%d HTTP/1.1\\r\\n\\r\\n")
        print(way.recv(100)[9:12].decode())
    except OSError:
        print("")
"""
        async with cell_of(settings, install_hosts=(f"localhost:{parrot}",), install_private=True) as cell:
            told = (await run(cell, source % parrot)).stdout.text.split("\n")
        assert (told.count("200"), told[:16]) == (16, ["200"] * 16)


class TestTheGate:
    async def test_looks_at_every_address_of_a_name_and_connects_to_no_other(self) -> None:
        gate = Gate(["localhost:1", "*.example.org"], may_reach=is_public)
        for target, status in (("localhost:1", 403), ("example.org:443", 403), ("a.example.org:80", 403)):
            with pytest.raises(NotLetOut) as refused:
                await gate.open(target)
            assert refused.value.status == status

    async def test_tells_a_host_that_cannot_be_reached(self) -> None:
        gate = Gate(["127.0.0.1:1"], may_reach=lambda _: True)
        with pytest.raises(NotLetOut) as refused:
            await gate.open("127.0.0.1:1")
        assert refused.value.status == 502


def test_the_setting_is_off_unless_it_is_set() -> None:
    assert Settings().install_hosts == ()
    assert "TOOL_EXECUTOR_INSTALL_HOSTS" not in os.environ

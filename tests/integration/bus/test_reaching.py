"""What a service and a guest say when NATS is not there, or does not want them."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from natscope.bus import BusSettings, connect
from natscope.contracts.errors import BusUnavailable, CredentialRefused
from tests.nats_server import NatsServer

GUARD = "authorization { users: [ {user: admin, password: right} ] }\n"


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"nats://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that lets in `admin` alone."""
    folder = tmp_path_factory.mktemp("guarded")
    config = folder / "nats.conf"
    config.write_text(GUARD)
    server = NatsServer(folder, config=config).start()
    yield server.url
    server.stop()


@asynccontextmanager
async def old_server() -> AsyncIterator[str]:
    """The address of something that says of itself that it is a nats-server of before 2.11."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"A","version":"2.10.29","max_payload":1048576,"headers":true}\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def memory(url: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service `memory` as a process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.memory"),
        env={**os.environ, "NATS_URL": url, "OTEL_SDK_DISABLED": "true", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class TestAService:
    async def test_says_what_it_waits_for_and_where_and_ends_when_told_to(self, nowhere: str) -> None:
        async with memory(nowhere) as service, asyncio.timeout(60):
            assert service.stderr is not None
            said = (await service.stderr.readline()).decode()
            assert "waiting for NATS" in said
            assert nowhere in said
            service.send_signal(signal.SIGTERM)
            assert await service.wait() == 0

    async def test_that_is_not_accepted_says_so_in_one_line(self, guarded: str) -> None:
        async with memory(guarded, NATS_USER="admin", NATS_PASSWORD="wrong") as service, asyncio.timeout(60):
            _, said = await service.communicate()
            assert said.decode().startswith(f"memory: {guarded} does not accept the password of user 'admin'")
            assert len(said.decode().splitlines()) == 1
            assert service.returncode == 1

    async def test_says_in_one_line_that_the_server_is_too_old(self) -> None:
        async with old_server() as url, memory(url) as service, asyncio.timeout(60):
            _, said = await service.communicate()
            assert said.decode().startswith(f"memory: the NATS server at {url} is too old: 2.10.29")
            assert "2.11 or newer" in said.decode()
            assert len(said.decode().splitlines()) == 1
            assert service.returncode == 1


class TestAGuest:
    async def test_is_told_that_the_server_is_too_old(self) -> None:
        async with old_server() as url:
            with pytest.raises(BusUnavailable, match=r"too old: 2\.10\.29"):
                async with connect("guest", BusSettings.model_construct(url=url)):
                    pass

    async def test_is_told_apart_whether_nobody_answers_or_it_is_not_accepted(self, guarded: str, nowhere: str) -> None:
        wrong = BusSettings.model_construct(url=guarded, user="admin", password=SecretStr("wrong"))
        right = BusSettings.model_construct(url=guarded, user="admin", password=SecretStr("right"))
        with pytest.raises(CredentialRefused, match="password of user 'admin'"):
            async with connect("guest", wrong):
                pass
        with pytest.raises(CredentialRefused, match="without user and password"):
            async with connect("guest", BusSettings.model_construct(url=guarded)):
                pass
        with pytest.raises(BusUnavailable, match="no NATS server answers"):
            async with connect("guest", BusSettings.model_construct(url=nowhere)):
                pass
        async with connect("guest", right) as bus:
            assert bus.nc.is_connected

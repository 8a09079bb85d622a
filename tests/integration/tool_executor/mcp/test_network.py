"""Servers on the network: streamable HTTP, and the older transport."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator

import pytest

from natscope.contracts.errors import DeadlineExceeded, ToolUnavailable
from tests.free_ports import free_port
from tests.loopback.mcp_house import McpHouse, accepts, took

Standing = Callable[[str], Awaitable[int]]

KINDS = pytest.mark.parametrize("kind", ["http", "sse"])
SESSIONS = pytest.mark.parametrize("session", ["lasting", "per_call"])


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Return the port of a server of a kind that outlives a test, for tests that do it no harm."""
    house = McpHouse(tmp_path_factory.mktemp("standing"))
    servers: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}

    async def port_of(kind: str) -> int:
        if kind not in servers:
            port = free_port()
            servers[kind] = port, house.start_real(kind, port)
        assert await accepts(servers[kind][0])
        return servers[kind][0]

    yield port_of
    for _, process in servers.values():
        process.kill()
        process.communicate()
    assert asyncio.run(house.gone()), f"left behind: {house.processes()}"


class TestAServerOnTheNetwork:
    @KINDS
    @SESSIONS
    async def test_is_called_with_the_headers_that_it_wants(
        self, house: McpHouse, standing: Standing, kind: str, session: str
    ) -> None:
        port = await standing(kind)
        house.network(kind, port, session=session, headers={"X-Key": {"env": "KEY", "prefix": "Bearer "}})
        async with house.up({"KEY": "k3y"}) as up:
            assert await up.text("header", name="x-key") == "Bearer k3y"
            assert await up.text("count", to=2) == "counted"
        assert house.heard == ["1/2 at 1", "2/2 at 2"]

    @KINDS
    @SESSIONS
    async def test_brings_media_of_each_kind(
        self, house: McpHouse, standing: Standing, kind: str, session: str
    ) -> None:
        port = await standing(kind)
        house.network(kind, port, session=session)
        async with house.up() as up:
            result = await up.call("media", size=100)
        assert [block.type for block in result.output] == ["text", "image", "audio", "text", "file", "text"]

    @KINDS
    @pytest.mark.parametrize("protocol", ["auto", "handshake"])
    async def test_tells_when_its_tools_are_others(
        self, house: McpHouse, standing: Standing, kind: str, protocol: str
    ) -> None:
        port = await standing(kind)
        house.network(kind, port, protocol=protocol)
        async with house.up() as up:
            fresh = f"fresh_{protocol}"
            await up.call("grow", name=fresh)
            assert await up.text(fresh) == "new"

    @KINDS
    async def test_that_is_not_there_yet_comes_when_it_is(self, house: McpHouse, kind: str) -> None:
        port = free_port()
        house.network(kind, port)
        async with house.up() as up:
            assert up.servers.tools == {}
            async with house.listening(kind, port):
                assert await up.until("add")

    @KINDS
    async def test_is_found_back_by_the_next_call_after_its_restart(self, house: McpHouse, kind: str) -> None:
        port = free_port()
        house.network(kind, port)
        async with house.up() as up:
            async with house.listening(kind, port):
                await up.call("note", text="one")
            lost, seconds = await took(up.call("note", text="lost", deadline_s=3))
            async with house.listening(kind, port):
                result = await up.call("note", text="two", deadline_s=60)
        assert isinstance(lost, ToolUnavailable) or lost.state == "unknown"
        assert seconds < 40
        assert (result.state, house.lines) == ("success", ["one|nobody|", "two|nobody|"])

    @KINDS
    @SESSIONS
    async def test_that_stops_answering_is_an_error_in_time(self, house: McpHouse, kind: str, session: str) -> None:
        port = free_port()
        house.network(kind, port, session=session)
        async with house.listening(kind, port) as process, house.up() as up:
            await up.call("add", a=1, b=2)
            os.kill(process.pid, signal.SIGSTOP)
            error, seconds = await took(up.call("add", a=1, b=2, deadline_s=1))
        assert isinstance(error, DeadlineExceeded | ToolUnavailable)
        assert seconds < 40

    @KINDS
    async def test_that_dies_under_a_call_leaves_it_unknown(self, house: McpHouse, kind: str) -> None:
        port = free_port()
        house.network(kind, port)
        async with house.listening(kind, port), house.up() as up:
            result, seconds = await took(up.call("die"))
        assert (result.state, seconds < 40) == ("unknown", True)

    async def test_that_is_none_is_an_error(self, house: McpHouse) -> None:
        house.network("http", free_port(), session="per_call")
        async with house.up() as up:
            assert up.servers.tools == {}

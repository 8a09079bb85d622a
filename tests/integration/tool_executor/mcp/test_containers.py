"""Servers that run in containers of their own."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from natscope.contracts.errors import ToolUnavailable
from services.tool_executor.cells import CellLimits
from services.tool_executor.docker_cells import INSTANCE, OWNER, PLATFORM, PROGRAM, DockerCells
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.mcp.client import opener
from services.tool_executor.mcp.contained import Containers
from services.tool_executor.mcp.entries import ProgramEntry
from services.tool_executor.mcp.owning import Owner as SessionOwner
from services.tool_executor.owner import Owner
from services.tool_executor.settings import Settings
from tests.loopback.mcp_house import BARE, McpHouse, eventually, took

ROOT = Path(__file__).parents[4]
pytestmark = pytest.mark.docker

WALLED = """
import json, os, socket, sys
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"
def facts():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {
        "capabilities": status["CapEff"].strip(), "seccomp": status["Seccomp"].strip(), "root": os.getuid() == 0,
        "gain": status["NoNewPrivs"].strip(), "interfaces": sorted(os.listdir("/sys/class/net")),
        "write": tried(lambda: open("/usr/x", "w")), "home": tried(lambda: open("x", "w")),
        "given": tried(lambda: open(sys.argv[1] + "/f").read()), "change": tried(lambda: open(sys.argv[1] + "/f", "a")),
        "net": tried(lambda: socket.create_connection(("192.0.2.1", 9), 1)),
    }
for line in sys.stdin:
    message = json.loads(line)
    result = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                       "serverInfo": {"name": "walled", "version": "1"}},
        "tools/list": {"tools": [{"name": "facts", "inputSchema": {"type": "object"}}]},
    }.get(message["method"])
    if message["method"] == "tools/call":
        result = {"content": [{"type": "text", "text": json.dumps(facts())}]}
    if "id" in message:
        answer = {"result": result} if result else {"error": {"code": -32601, "message": "what?"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
"""


@pytest.fixture
def docker_settings(image: str, platform: str) -> DockerSettings:
    """What the containers are made of."""
    return replace(DockerSettings.of(Settings(image=image, platform=platform)), limits=CellLimits(memory_bytes=1 << 28))


async def nobody(_: str) -> bool:
    return False


@pytest.fixture
async def containers(docker_settings: DockerSettings) -> AsyncIterator[Containers]:
    """Makes containers; none may be left."""
    found = Containers(docker_settings, Owner.here("instance-1"), nobody)
    yield found
    await found.close()


@pytest.fixture
def ours(engine: docker.DockerClient, platform: str) -> Iterator[Any]:
    """Lists the containers of this test's house; at its end there is none."""

    def listed() -> list[Any]:
        return engine.containers.list(all=True, filters={"label": f"{PLATFORM}={platform}"}, ignore_removed=True)

    yield listed
    left = listed()
    for container in left:
        container.remove(force=True)
    assert left == []


def bare(house: McpHouse, manner: str = "well", **cell: Any) -> McpHouse:
    """Declare the bare server in a container; its text goes along, so nothing of this machine is shown to it."""
    walls = {"engine": "docker", **cell}
    env = {"NATSCOPE_TEST": house.mark, "MCP_LOG": "/tmp/log"}
    return house.declare("s", command="python3", args=["-c", Path(BARE).read_text(), manner], env=env, cell=walls)


async def facts(house: McpHouse, containers: Containers, shown: Path, **cell: Any) -> dict[str, Any]:
    """Return what a server in such a container finds."""
    walls = {"engine": "docker", **cell}
    house.declare("s", command="python3", args=["-c", WALLED, str(shown)], cell=walls)
    async with house.up(containers=containers) as up:
        return json.loads(await up.text("facts"))


@pytest.fixture
def shown() -> Iterator[Path]:
    """A folder with a file that everybody may read and change, and so may come to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    (folder / "f").write_text("x")
    (folder / "f").chmod(0o666)
    yield folder
    shutil.rmtree(folder)


class TestAServerInAContainer:
    async def test_answers_and_tells_and_is_gone_at_the_end(
        self, house: McpHouse, containers: Containers, ours: Any
    ) -> None:
        async with bare(house).up(containers=containers) as up:
            assert "ping of" in await up.text("ping")
            assert [container.labels[PROGRAM] for container in ours()] == ["python3"]
            assert len(house.processes()) >= 2
        assert ours() == []

    async def test_is_behind_the_walls_of_a_cell(
        self, house: McpHouse, containers: Containers, ours: Any, shown: Path
    ) -> None:
        found = await facts(house, containers, shown)
        assert (int(found["capabilities"], 16), found["seccomp"], found["root"], found["gain"]) == (0, "2", False, "1")
        assert (found["interfaces"], found["net"]) == (["lo"], "OSError")
        assert (found["write"], found["home"], found["given"]) == ("OSError", "done", "FileNotFoundError")

    async def test_reaches_what_it_is_given_and_no_more(
        self, house: McpHouse, containers: Containers, ours: Any, shown: Path
    ) -> None:
        """The control of its walls; what it may read only it cannot change."""
        reading = await facts(house, containers, shown, read=[str(shown)], network=True)
        assert (reading["given"], reading["change"]) == ("done", "OSError")
        assert "eth0" in reading["interfaces"]
        writing = await facts(house, containers, shown, write=[str(shown)])
        assert (writing["change"], writing["interfaces"]) == ("done", ["lo"])

    async def test_that_dies_leaves_its_call_unknown_and_the_next_finds_another(
        self, house: McpHouse, containers: Containers, ours: Any
    ) -> None:
        async with bare(house).up(containers=containers) as up:
            assert (await up.call("die")).state == "unknown"
            assert "ping of" in await up.text("ping")
            assert await eventually(lambda: len(ours()) == 1)

    async def test_whose_container_is_removed_is_found_back(
        self, house: McpHouse, containers: Containers, ours: Any
    ) -> None:
        async with bare(house).up(containers=containers) as up:
            await up.text("ping")
            ours()[0].remove(force=True)
            await up.call("ping")
            assert "ping of" in await up.text("ping")

    async def test_that_ends_at_once_is_told_with_its_last_words(
        self, house: McpHouse, containers: Containers, ours: Any
    ) -> None:
        entry = ProgramEntry.model_validate(bare(house, "gone").entries["s"] | {"kind": "stdio", "start_s": 60})
        owner = SessionOwner("s", entry, opener({}, containers))
        error, _ = await took(owner.session())
        await owner.close()
        assert isinstance(error, ToolUnavailable)
        assert "there is no such database" in str(error)

    async def test_of_an_image_that_is_not_there_is_told(
        self, house: McpHouse, containers: Containers, ours: Any
    ) -> None:
        entry = ProgramEntry.model_validate(bare(house, image="natscope-none:1").entries["s"] | {"kind": "stdio"})
        owner = SessionOwner("s", entry, opener({}, containers))
        error, _ = await took(owner.session())
        await owner.close()
        assert isinstance(error, ToolUnavailable)
        assert "natscope-none:1" in str(error)

    async def test_without_an_engine_to_run_it_is_told(self, house: McpHouse) -> None:
        entry = ProgramEntry.model_validate(bare(house).entries["s"] | {"kind": "stdio"})
        owner = SessionOwner("s", entry, opener({}))
        error, _ = await took(owner.session())
        await owner.close()
        assert isinstance(error, ToolUnavailable)


EXECUTOR = """
import asyncio, os, sys
from pathlib import Path
from services.tool_executor.mcp.client import opener
from services.tool_executor.mcp.contained import Containers
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.mcp.servers import Servers
from services.tool_executor.owner import Owner
from services.tool_executor.settings import Settings

async def nobody(_):
    return False

async def main():
    settings = Settings(image=sys.argv[2], platform=sys.argv[3])
    containers = Containers(DockerSettings.of(settings), Owner.here("instance-2"), nobody)
    servers = Servers(Path(sys.argv[1]), {}, lambda: opener({}, containers))
    async with servers.up(lambda: None):
        while not servers.tools:
            await asyncio.sleep(0.05)
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


class TestTheOwnersDeath:
    async def test_takes_a_server_along_that_does_not_want_to_end(
        self, house: McpHouse, image: str, platform: str, ours: Any
    ) -> None:
        bare(house, "stubborn")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "shared")])}
        executor = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", EXECUTOR, str(house.file), image, platform), stdout=subprocess.PIPE, env=env
        )
        assert executor.stdout is not None
        try:
            assert await executor.stdout.readline() == b"up\n"
            assert len(ours()) == 1
        finally:
            executor.kill()
            await executor.wait()
        assert await eventually(lambda: ours() == [])
        assert await house.gone()

    async def test_leaves_what_its_labels_tell_the_next_one(
        self, engine: docker.DockerClient, docker_settings: DockerSettings, ours: Any, house: McpHouse
    ) -> None:
        """The dead one's container goes, that of a living one stays."""
        living = Owner.here("living")
        place = living.mark.rpartition("/")[0].rpartition("/")[0]
        marks = {"dead": f"{place}/{2**22 + 1}/1", "living": living.mark}
        for instance, mark in marks.items():
            labels = {PLATFORM: docker_settings.platform, INSTANCE: instance, OWNER: mark, PROGRAM: "sleep"}
            engine.containers.run(docker_settings.image, ["100"], entrypoint="sleep", labels=labels, detach=True)
        containers = Containers(docker_settings, Owner.here("instance-1"), nobody)
        async with bare(house).up(containers=containers) as up:
            await up.text("ping")
            wanted = ["instance-1", "living"]
            assert await eventually(lambda: sorted(each.labels[INSTANCE] for each in ours()) == wanted)
        await containers.close()
        for left in ours():
            left.remove(force=True)

    async def test_is_noticed_by_the_housekeeping_of_cells_too_which_leaves_its_own_programs_alone(
        self, engine: docker.DockerClient, docker_settings: DockerSettings, ours: Any
    ) -> None:
        cells = DockerCells(docker_settings, Owner.here("instance-1"))
        own, dead = Owner.here("instance-1").mark, "elsewhere/1/1"
        for instance, mark in {"instance-1": own, "gone": dead}.items():
            labels = {PLATFORM: docker_settings.platform, INSTANCE: instance, OWNER: mark, PROGRAM: "sleep"}
            engine.containers.run(docker_settings.image, ["100"], entrypoint="sleep", labels=labels, detach=True)
        assert await cells.reap(nobody) == 1
        assert [each.labels[INSTANCE] for each in ours()] == ["instance-1"]
        await cells.close()
        for left in ours():
            left.remove(force=True)

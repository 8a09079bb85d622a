"""`natscope up` and the embedded house: a real server and every service in one process."""

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from natscope import client
from natscope.bus import BusSettings
from natscope.cli.embedded import embedded
from natscope.cli.server import server
from natscope.contracts.errors import Refused, SpecInvalid
from tests.e2e.cli.conftest import Start
from tests.free_ports import free_port

ROOT = Path(__file__).resolve().parents[3]
AGENTS = ROOT / "deploy" / "agents"


def taken() -> socket.socket:
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.listen()
    return held


class TestEmbedded:
    async def test_a_task_is_answered_by_the_real_services(self, tmp_path: Path) -> None:
        async with (
            embedded(tmp_path / "data", port=0, agents=AGENTS) as url,
            client.open(BusSettings(url=url)) as house,
        ):
            outcome = await house.ask("assistant", "How many primes are there below 1000?", deadline_s=60)
        assert outcome.state == "completed"
        assert "168" in outcome.text

    async def test_what_was_said_is_still_there_when_it_starts_again(self, tmp_path: Path) -> None:
        async with (
            embedded(tmp_path / "data", port=0, agents=AGENTS) as url,
            client.open(BusSettings(url=url)) as house,
        ):
            ticket = await house.submit("assistant", "Hello")
            outcome = await ticket.result(60)
        async with (
            embedded(tmp_path / "data", port=0, agents=AGENTS) as url,
            client.open(BusSettings(url=url)) as house,
        ):
            assert await house.ticket(ticket.task_id).result(60) == outcome

    async def test_a_wrong_agent_file_is_refused_before_anything_runs(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("name: a\nsytem_prompt: hi\n")
        with pytest.raises(SpecInvalid, match=r"a.yaml:2: sytem_prompt"):
            async with embedded(tmp_path / "data", port=0, agents=tmp_path / "a.yaml"):
                pass

    async def test_the_garbage_collector_is_as_before_afterwards(self, tmp_path: Path) -> None:
        before = gc.get_threshold()
        async with embedded(tmp_path / "data", port=0, agents=AGENTS):
            assert gc.get_threshold() != before
        assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


class TestServer:
    async def test_a_taken_port_gives_way_to_a_free_one(self, tmp_path: Path) -> None:
        with taken() as held:
            port = held.getsockname()[1]
            async with server(tmp_path / "data", port=port) as running:
                assert not running.url.endswith(f":{port}")

    async def test_a_free_port_is_used(self, tmp_path: Path) -> None:
        port = free_port()
        async with server(tmp_path / "data", port=port) as running:
            assert running.url == f"nats://127.0.0.1:{port}"

    async def test_a_folder_serves_one_house_at_a_time(self, tmp_path: Path) -> None:
        async with server(tmp_path / "data", port=0):
            with pytest.raises(Refused, match="another `natscope up` runs in"):
                async with server(tmp_path / "data", port=0):
                    pass
        async with server(tmp_path / "data", port=0):
            pass

    async def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Refused, match=r"file/data' cannot be written: Not a directory"):
            async with server(tmp_path / "file" / "data", port=0):
                pass

    async def test_a_folder_with_spaces_and_quotes_is_fine(self, tmp_path: Path) -> None:
        async with server(tmp_path / 'my "data" $folder', port=0) as running:
            assert running.url.startswith("nats://127.0.0.1:")


class TestUp:
    async def test_it_says_what_it_is_made_of_answers_and_ends_on_ctrl_c(self, natscope: Start, tmp_path: Path) -> None:
        up = await natscope("up", "--data", str(tmp_path / "data"), "--port", "0", cwd=ROOT)
        said = [await up.line(word) for word in ("NATS", "model", "sandbox", "agents", "try")]
        url = said[0].split()[1]
        assert "assistant" in said[3]
        asked = await natscope("ask", "assistant", "How many primes are there below 100?", "--task-id", "t1", url=url)
        answered = await asked.done()
        traced = await (await natscope("trace", "t1", "--json", url=url)).done()
        up.interrupt()
        ended = await up.done()
        assert (answered.code, ended.code) == (0, 0)
        assert "25" in answered.out
        assert {span["service"] for span in traced.lines} >= {"natscope-cli", "agent", "model-gateway", "tool-executor"}
        assert "draining" in ended.out
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1)

    async def test_a_deploy_folder_where_it_was_typed_is_taken_whole(self, natscope: Start, tmp_path: Path) -> None:
        shutil.copytree(ROOT / "deploy" / "agents", tmp_path / "deploy" / "agents")
        shutil.copy(ROOT / "deploy" / "models.yaml", tmp_path / "deploy")
        server = {"command": sys.executable, "args": [str(ROOT / "tests" / "loopback" / "mcp_bare.py"), "well"]}
        (tmp_path / "deploy" / "mcp.yaml").write_text(json.dumps({"servers": {"mine": server}}))
        up = await natscope("up", "--port", "0", cwd=tmp_path)
        url = (await up.line("NATS")).split()[1]
        async with client.open(BusSettings(url=url)) as house, asyncio.timeout(90):
            seen: set[str] = set()
            while "mcp__mine__ping" not in seen:
                seen = {spec.name for host in await house.tools() for spec in host.tools}
        up.interrupt()
        assert (await up.done()).code == 0

    @pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux ends the server of a killed process")
    async def test_killed_it_leaves_no_server_and_the_folder_free(self, natscope: Start, tmp_path: Path) -> None:
        up = await natscope("up", "--data", str(tmp_path / "data"), "--port", "0", cwd=ROOT)
        url = (await up.line("NATS")).split()[1]
        up.process.send_signal(signal.SIGKILL)
        await up.process.wait()
        async with asyncio.timeout(60):
            await asyncio.to_thread(_wait_until_refused, url)
        async with server(tmp_path / "data", port=0):
            pass

    async def test_killed_and_started_again_it_finishes_what_it_had_accepted_and_no_listener_misses_a_thing(
        self, natscope: Start, tmp_path: Path
    ) -> None:
        port = str(free_port())
        house = ("up", "--data", str(tmp_path / "data"), "--port", port)
        first = await natscope(*house, cwd=ROOT)
        url = (await first.line("NATS")).split()[1]
        await first.line("try")
        question = "Run python: import time\nprint('begun', flush=True)\ntime.sleep(10)\nprint('done')"
        asked = await natscope("ask", "assistant", question, "--json", "--task-id", "t1", url=url)
        await asked.line("tool_call_end")
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        await asyncio.to_thread(_wait_until_refused, url)
        second = await natscope(*house, cwd=ROOT)
        ended = await asked.done()
        watched = await (await natscope("watch", "--task", "t1", "--json", url=url)).done()
        second.interrupt()
        await second.done()
        outcome = ended.lines[-1]["outcome"]
        assert (ended.code, outcome["state"], outcome["tool_calls"]) == (0, "completed", 1)
        assert watched.lines[-len(ended.lines) :] == ended.lines
        starts = [
            line["event"]["resumed"] for line in watched.lines if line.get("event", {}).get("type") == "reply_start"
        ]
        assert starts == [False, True]

    async def test_a_server_that_dies_ends_it_with_its_log_named(self, natscope: Start, tmp_path: Path) -> None:
        up = await natscope("up", "--data", str(tmp_path / "data"), "--port", "0", cwd=ROOT)
        await up.line("try")
        ports = next((tmp_path / "data").glob("*.ports"))
        os.kill(int(ports.stem.rpartition("_")[2]), signal.SIGKILL)
        ended = await up.done()
        assert ended.code == 3
        assert "error: nats-server ended with code -9 (its log is " in ended.err


class TestDemo:
    async def test_its_answer_is_made_of_the_files_figures(self, natscope: Start) -> None:
        ended = await (await natscope("demo", cwd=ROOT)).done()
        assert ended.code == 0
        assert "Gentoo has the longest flippers on average: the mean of flipper_length_mm is 217.19" in ended.out
        assert "a script stands in" in ended.out
        assert "execute_tool execute_python  tool-executor" in ended.out

    async def test_another_file_gets_another_answer_from_any_folder(self, natscope: Start, tmp_path: Path) -> None:
        table = (ROOT / "examples" / "data" / "penguins.csv").read_text().replace("Gentoo", "Emperor")
        (tmp_path / "mine.csv").write_text(
            table.replace("Emperor,Biscoe,46.1,13.2,211", "Emperor,Biscoe,46.1,13.2,999")
        )
        ended = await (await natscope("demo", "--file", "mine.csv")).done()
        assert ended.code == 0
        assert "Emperor has the longest flippers" in ended.out
        assert "217.19" not in ended.out


def _wait_until_refused(url: str) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
        except OSError:
            return
        time.sleep(0.05)

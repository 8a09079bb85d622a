"""How servers begin, misbehave and end."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from natscope.contracts.blocks import text_of
from natscope.contracts.errors import ToolUnavailable
from services.tool_executor.mcp.client import opener
from services.tool_executor.mcp.entries import ProgramEntry
from services.tool_executor.mcp.owning import Owner
from tests.loopback.mcp_house import BARE, REAL, McpHouse, eventually, took

ROOT = Path(__file__).parents[4]


def entry(house: McpHouse, manner: str, *, start_s: float) -> ProgramEntry:
    env = {"NATSCOPE_TEST": house.mark}
    return ProgramEntry(command=sys.executable, args=[BARE, manner], env=env, start_s=start_s)  # pyright: ignore[reportArgumentType]


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


class TestAServerThatMisbehaves:
    @pytest.mark.parametrize("manner", ["chatter", "endless", "mute", "gone", "older"])
    async def test_is_a_typed_error_within_its_time_and_leaves_no_process(self, house: McpHouse, manner: str) -> None:
        owner = Owner("s", entry(house, manner, start_s=2), opener({}))
        error, seconds = await took(owner.session())
        await owner.close()
        assert isinstance(error, ToolUnavailable)
        assert seconds < 50
        assert await house.gone(20)

    async def test_by_ending_at_once_is_told_with_its_last_words(self, house: McpHouse) -> None:
        owner = Owner("s", entry(house, "gone", start_s=60), opener({}))
        error, _ = await took(owner.session())
        await owner.close()
        assert "there is no such database" in str(error)

    async def test_in_that_it_does_not_exist_is_told(self, house: McpHouse) -> None:
        missing = ProgramEntry(command="/nowhere/at-all", start_s=5)
        owner = Owner("s", missing, opener({}))
        error, _ = await took(owner.session())
        await owner.close()
        assert isinstance(error, ToolUnavailable)
        assert "/nowhere/at-all" in str(error)

    async def test_with_a_banner_is_forgiven(self, house: McpHouse) -> None:
        async with house.bare("banner").up() as up:
            assert "ping of" in await up.text("ping")

    async def test_by_stray_lines_among_its_answers_is_forgiven(self, house: McpHouse) -> None:
        async with house.bare("noisy").up() as up:
            for _ in range(5):
                assert "ping of" in await up.text("ping")

    async def test_by_a_flood_of_notifications_is_heard_and_holds_up_nobody(self, house: McpHouse) -> None:
        async with house.bare("flood").bare(name="calm").up() as up:
            for _ in range(3):
                assert "ping of" in await up.text("ping")
            assert "ping of" in text_of((await up.call("ping", server="calm")).output)
        assert house.heard == []

    async def test_by_starting_late_comes_late_and_holds_up_nobody(self, house: McpHouse) -> None:
        house.bare("late", name="late").bare(name="s")
        async with house.up() as up:
            assert await up.until("ping", server="s")
            assert "mcp__late__ping" not in up.servers.tools
            house.log.with_name("go").touch()
            assert await up.until("ping", server="late")

    async def test_by_not_starting_in_time_holds_up_nobody(self, house: McpHouse) -> None:
        house.bare("mute", name="mute", start_s=1).bare(name="s")
        async with house.up() as up:
            assert "ping of" in await up.text("ping")


class TestTheEndOfAServer:
    async def test_leaves_no_process_that_it_started(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            await up.call("breed")
            assert len(house.processes()) == 4
        assert house.processes() == []

    async def test_would_leave_one_if_its_group_alone_were_killed(self, house: McpHouse) -> None:
        """The control: a child in a session of its own outlives its group, and the house's count sees it."""
        parent = "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"
        process = house.start(sys.executable, "-c", parent)
        assert await eventually(lambda: any(command_of(each).startswith("sleep") for each in house.processes()))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        left = house.processes()
        for each in left:
            os.kill(each, signal.SIGKILL)
        process.communicate()
        assert len(left) == 1

    async def test_comes_although_it_does_not_want_to(self, house: McpHouse) -> None:
        async with house.bare("stubborn").up() as up:
            assert "ping of" in await up.text("ping")
            closing = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - closing < 20
        assert house.processes() == []

    async def test_by_its_own_death_takes_its_children_along(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            await up.call("breed")
            before = set(house.processes())
            await up.call("die")
            assert await eventually(lambda: not before & set(house.processes()))

    async def test_comes_with_the_kill_of_its_warden_and_the_next_call_finds_another(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            before = await up.text("ping")
            warden = next(each for each in house.processes() if "warden.py" in command_of(each))
            os.kill(warden, signal.SIGKILL)
            assert await eventually(lambda: int(before.split()[-1]) not in house.processes())
            assert await up.text("ping") != before

    async def test_comes_with_the_kill_of_the_executor(self, house: McpHouse) -> None:
        house.real()
        script = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from tests.loopback.mcp_house import McpHouse\n"
            "async def main():\n"
            f"    house = McpHouse(Path({str(house.folder)!r}), {house.mark!r})\n"
            "    async with house.up() as up:\n"
            "        await up.call('breed')\n"
            "        print('ready', flush=True)\n"
            "        await asyncio.sleep(60)\n"
            "asyncio.run(main())\n"
        )
        executor = house.start(sys.executable, "-c", script, cwd=ROOT)
        assert executor.stdout is not None
        assert await asyncio.to_thread(executor.stdout.readline) == b"ready\n"
        assert len(house.processes()) == 5
        executor.kill()
        executor.wait()
        executor.stdout.close()
        assert await house.gone(20)


class TestASession:
    async def test_is_closed_from_another_task_than_opened_it(self, house: McpHouse) -> None:
        owner = Owner("s", entry(house, "well", start_s=20), opener({}))
        await owner.session()
        await asyncio.create_task(owner.close())
        assert house.processes() == []

    async def test_is_closed_while_it_is_being_opened(self, house: McpHouse) -> None:
        owner = Owner("s", entry(house, "mute", start_s=30), opener({}))
        assert await eventually(lambda: len(house.processes()) == 2)
        _, seconds = await took(owner.close())
        assert seconds < 50
        assert house.processes() == []

    async def test_fails_its_calls_when_it_is_closed_under_them(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            call = asyncio.create_task(up.call("mute", deadline_s=20))
            assert await eventually(lambda: len(house.lines) == 1)
            await up.servers.tools["mcp__s__mute"].connection.close()
            assert (await call).state == "unknown"

    async def test_goes_on_after_a_call_was_cancelled(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            before = await up.text("ping")
            call = asyncio.create_task(up.call("mute"))
            await asyncio.sleep(0.1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert await up.text("ping") == before


class TestACell:
    async def test_keeps_a_program_from_the_files_of_the_machine(self, house: McpHouse) -> None:
        secret = house.folder / "secret"
        secret.write_text("s")
        walls = {"read": [str(Path(sys.prefix)), str(Path(sys.base_prefix)), str(ROOT / "tests/loopback")]}
        house.real(cell={**walls, "write": []})
        async with house.up() as up:
            result = await up.call("note", text="x")
        assert (result.state, house.lines) == ("error", [])

    async def test_lets_it_reach_what_it_is_given(self, house: McpHouse) -> None:
        """The control."""
        walls = {"read": [str(Path(sys.prefix)), str(Path(sys.base_prefix)), str(ROOT / "tests/loopback")]}
        house.real(cell={**walls, "write": [str(house.folder)]})
        async with house.up() as up:
            assert (await up.call("note", text="x")).state == "success"
            await up.call("breed")
        assert house.lines == ["x|nobody|"]
        assert house.processes() == []


def test_the_servers_are_programs_that_exist() -> None:
    assert Path(REAL).is_file()
    assert Path(BARE).is_file()

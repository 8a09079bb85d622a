"""What only its host can tell of an attack: output, time, and files outside the cell; each beside its control."""

import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from services.tool_executor.cell_files import FileRefused
from services.tool_executor.cells import Outcome, Program, RunLimits
from tests.integration.tool_executor.adversarial.walls import House, Unhardened

on_one_loop = pytest.mark.asyncio(loop_scope="module")

HELD = "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '60'])\nprint('done')"
FLOOD = "import os\nfor _ in range(1600): os.write(1, b'x' * 65536)"
BETWEEN = "import os\nos.write(1, b'x' * 150000)\nprint('done')"
BINARY = "import os; os.write(1, bytes(range(256)))"
KILL_ALL = "import os, signal\nfor pid in (-1, 1):\n    try: os.kill(pid, signal.SIGKILL)\n    except OSError: pass"
PLANT = "import os\nos.chdir({folder!r})\nos.symlink({target!r}, 'next.py')"
SET_UID = "import os\nopen('{folder}/set-uid', 'w').close(); os.chmod('{folder}/set-uid', 0o4755)"


async def run(house: House, source: str, *, seconds: float = 20) -> Outcome:
    cell = await house.usable()
    return await cell.run(Program("python", source), RunLimits(wall_clock=timedelta(seconds=seconds)))


def peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


class TestOutput:
    @on_one_loop
    async def test_a_hundred_megabytes_cost_the_host_next_to_nothing(self, house: House) -> None:
        await run(house, FLOOD)
        before = peak_kb()
        outcome = await run(house, FLOOD)
        assert peak_kb() - before < 8 << 10
        kept = len(outcome.stdout.head) + len(outcome.stdout.tail)
        assert kept <= 64 << 10
        assert kept + outcome.stdout.dropped_bytes == 1600 * 65536

    @on_one_loop
    async def test_an_amount_between_two_buffers_is_no_false_timeout(self, house: House) -> None:
        outcome = await run(house, BETWEEN, seconds=40)
        assert outcome.succeeded
        assert outcome.stdout.tail.endswith(b"done\n")

    @on_one_loop
    async def test_bytes_that_are_no_text_break_nothing(self, house: House) -> None:
        outcome = await run(house, BINARY)
        assert outcome.succeeded
        assert "\ufffd" in outcome.stdout.text

    @on_one_loop
    async def test_a_stream_held_open_by_a_daemon_holds_nobody_up(self, house: House) -> None:
        began = time.monotonic()
        outcome = await run(house, HELD)
        assert outcome.stdout.text == "done\n"
        assert time.monotonic() - began < 20


@pytest.mark.docker
class TestOutputWithoutWalls:
    @on_one_loop
    async def test_all_of_it_reaches_the_host(self, unhardened: Callable[[str], Unhardened]) -> None:
        assert len(unhardened("plain").run("python", FLOOD).stdout) == 1600 * 65536

    def test_a_host_that_waits_before_it_reads_waits_for_nothing(self, unhardened: Callable[[str], Unhardened]) -> None:
        command = unhardened("plain").command("python", BETWEEN)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(2)
            assert len(waiting.communicate()[0]) == 150_005

    @on_one_loop
    async def test_a_host_that_decodes_strictly_fails(self, unhardened: Callable[[str], Unhardened]) -> None:
        with pytest.raises(UnicodeDecodeError):
            unhardened("plain").run("python", BINARY).stdout.decode()

    @on_one_loop
    async def test_a_daemon_holds_its_stream_open(self, unhardened: Callable[[str], Unhardened]) -> None:
        container = unhardened("plain")
        began = time.monotonic()
        container.run("python", "import subprocess, sys\nsubprocess.Popen(['sleep', '2'])\nprint('done')")
        assert time.monotonic() - began >= 1.5


class TestWhatAHostMustSurvive:
    @pytest.mark.parametrize(
        ("source", "exit_code", "signal"),
        [
            ("raise SystemExit(7)", 7, None),
            ("import os; os.abort()", None, 6),
            ("import ctypes; ctypes.string_at(0)", None, 11),
        ],
    )
    @on_one_loop
    async def test_an_exit_or_a_crash_is_a_result(
        self, house: House, source: str, exit_code: int | None, signal: int | None
    ) -> None:
        outcome = await run(house, source)
        assert (outcome.exit_code, outcome.signal) == (exit_code, signal)

    @on_one_loop
    async def test_killing_everything_leaves_the_cell(self, house: House) -> None:
        cell = await house.usable()
        await run(house, KILL_ALL)
        assert (await run(house, "print('usable')")).stdout.text == "usable\n"
        assert await house.usable() is cell

    @on_one_loop
    async def test_an_output_folder_that_lets_nobody_in_leaves_the_cell(self, house: House) -> None:
        cell = await house.usable()
        await run(
            house, "import os\nos.makedirs('output', exist_ok=True)\nopen('output/a', 'w')\nos.chmod('output', 0)"
        )
        outcome = await run(house, "import os; os.chmod('output', 0o755); print('usable')")
        assert outcome.stdout.text == "usable\n"
        assert [artifact.path for artifact in outcome.artifacts] == ["output/a"]
        assert await house.usable() is cell

    @pytest.mark.docker
    def test_control_without_walls_a_bystander_dies(self, unhardened: Callable[[str], Unhardened]) -> None:
        container = unhardened("plain")
        command = container.command("shell", "echo begun; sleep 62.5")
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as bystander:
            assert bystander.stdout is not None
            assert bystander.stdout.readline() == b"begun\n"
            container.run("python", KILL_ALL)
            assert bystander.wait(50) == 137


class TestFilesOfTheHost:
    @on_one_loop
    async def test_a_planted_link_leads_the_host_nowhere(self, house: House, tmp_path: Path) -> None:
        target = tmp_path / "of-the-host"
        target.write_text("untouched")
        planted = await run(house, PLANT.format(folder="/workspace", target=str(target)))
        assert planted.succeeded
        cell = await house.usable()
        with pytest.raises(FileRefused):
            await cell.put_file("next.py", b"overwritten")
        with pytest.raises(FileRefused):
            await cell.read_file("next.py")
        assert target.read_text() == "untouched"

    @on_one_loop
    async def test_two_sessions_see_nothing_of_each_other(self, house: House) -> None:
        await run(house, "for folder in ('/workspace', '/tmp', '/dev/shm'): open(folder + '/mine', 'w').write('a')")
        other = await house.backend.open_cell("other")
        looked = await other.run(
            Program("shell", "ls -A /workspace /tmp /dev/shm | grep mine; ps -A | wc -l"), RunLimits()
        )
        assert "mine" not in looked.stdout.text
        await other.close()

    @pytest.mark.docker
    def test_control_a_host_that_writes_into_a_shared_folder_is_led_astray(
        self, unhardened: Callable[[str], Unhardened], tmp_path: Path
    ) -> None:
        container = unhardened("plain")
        target = tmp_path / "of-the-host"
        target.write_text("untouched")
        container.run("python", PLANT.format(folder="/control", target=str(target)))
        (container.shared / "next.py").write_text("overwritten")
        assert target.read_text() == "overwritten"

    @pytest.mark.docker
    def test_control_set_uid_files_of_root_reach_the_host(self, unhardened: Callable[[str], Unhardened]) -> None:
        container = unhardened("plain")
        container.run("python", SET_UID.format(folder="/control"))
        left = (container.shared / "set-uid").stat()
        assert (left.st_uid, left.st_mode & 0o4000) == (0, 0o4000)

    @pytest.mark.docker
    def test_control_two_runs_share_their_files(self, unhardened: Callable[[str], Unhardened]) -> None:
        container = unhardened("plain")
        container.run("python", "open('/tmp/mine', 'w').write('a')")
        assert b"mine" in container.run("shell", "ls /tmp").stdout

"""Every limit of a cell holds, on every backend; each attack is shown to succeed in an ordinary container."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from services.tool_executor.cells import Cell, Outcome, Program, RunLimits, Stream

Run = Callable[..., Awaitable[Outcome]]
Plain = Callable[..., tuple[int, str]]

IGNORE_SIGNALS = """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(0.05); print('still here')
    os._exit(0)
os.wait()
"""
FORK_BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
HELD_IN_FLIGHT = """
import array, os, socket
a, b = socket.socketpair()
held = array.array('i', [1, 2, a.fileno(), b.fileno()])
for end in (a, b):
    end.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, held)])
"""
PROCESSES = "import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()) == [1, os.getpid()])"


class TestDeadline:
    @pytest.mark.parametrize(
        "source",
        [
            pytest.param("while True: pass", id="endless loop"),
            pytest.param(IGNORE_SIGNALS + "while True: pass", id="every signal ignored"),
            pytest.param(DAEMON + "while True: pass", id="a daemon beside it"),
            pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", id="stopped by itself"),
            pytest.param(FORK_BOMB, id="fork bomb"),
            pytest.param(IGNORE_SIGNALS + FORK_BOMB, id="fork bomb that ignores signals"),
            pytest.param("import os\nwhile True: os.write(1, b'x' * 65536)", id="endless output"),
        ],
    )
    async def test_everything_ends_with_it(self, run: Run, source: str) -> None:
        outcome = await run("print('begun', flush=True)\n" + source, seconds=1.5)
        assert outcome.timed_out
        assert not outcome.succeeded
        assert outcome.duration < timedelta(seconds=30)
        assert outcome.stdout.text.startswith("begun\n")
        assert (await run(PROCESSES)).stdout.text == "True\n"

    @pytest.mark.parametrize(
        "command", ["trap '' TERM INT HUP; while :; do :; done", "sleep 60 & wait", "setsid -w sleep 60"]
    )
    async def test_a_shell_ends_with_it_too(self, run: Run, command: str) -> None:
        outcome = await run(command, language="shell", seconds=0.5)
        assert outcome.timed_out
        assert (await run(PROCESSES)).stdout.text == "True\n"

    @pytest.mark.docker
    def test_control_a_signal_that_asks_is_ignored(self, plain: Plain) -> None:
        source = f"""
import os, signal, time
child = os.fork()
if child == 0:
    {IGNORE_SIGNALS.strip().replace(chr(10), chr(10) + "    ")}
    time.sleep(60)
time.sleep(0.5)
os.kill(child, signal.SIGTERM)
time.sleep(0.5)
print(os.waitpid(child, os.WNOHANG))
"""
        assert plain(source) == (0, "(0, 0)\n")


class TestWhatIsLeftBehind:
    async def test_a_daemon_ends_with_the_program_that_left_it(self, run: Run) -> None:
        outcome = await run(DAEMON + "print('done')")
        assert outcome.succeeded
        assert (await run(PROCESSES)).stdout.text == "True\n"

    async def test_a_held_pipe_holds_nobody_up(self, run: Run) -> None:
        outcome = await run("sleep 90 & echo done", language="shell")
        assert (outcome.exit_code, outcome.stdout.text) == (0, "done\n")

    async def test_a_pipe_held_by_a_message_in_flight_holds_nobody_up(self, run: Run) -> None:
        outcome = await run(HELD_IN_FLIGHT + "print('done')")
        assert (outcome.exit_code, outcome.stdout.text) == (0, "done\n")
        assert (await run("print('usable')")).stdout.text == "usable\n"

    async def test_zombies_do_not_fill_the_cell(self, run: Run) -> None:
        for _ in range(4):
            await run("import os\nfor _ in range(40):\n    if os.fork() == 0: os._exit(0)")
        assert (await run(PROCESSES)).stdout.text == "True\n"


class TestMemory:
    HOG = "data = [bytearray(16 << 20) for _ in range({})]\nprint(len(data))"

    async def test_a_program_over_the_limit_is_killed_and_said_to_be(self, run: Run) -> None:
        outcome = await run(self.HOG.format(64))
        assert outcome.out_of_memory
        assert not outcome.succeeded
        assert (await run("print('usable')")).stdout.text == "usable\n"

    async def test_children_count(self, run: Run) -> None:
        source = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        x = bytearray(150 << 20); time.sleep(10)
for _ in range(6): print(os.wait()[1])
"""
        outcome = await run(source)
        assert outcome.out_of_memory
        assert (await run("print('usable')")).stdout.text == "usable\n"

    async def test_a_run_may_be_held_to_less_than_its_cell(self, cell: Cell) -> None:
        limits = RunLimits(wall_clock=timedelta(seconds=60), memory_bytes=128 << 20)
        outcome = await cell.run(Program("python", self.HOG.format(16) + "\nimport time; time.sleep(50)"), limits)
        assert outcome.out_of_memory

    async def test_within_the_limit_all_is_well(self, run: Run) -> None:
        outcome = await run(self.HOG.format(12))
        assert (outcome.stdout.text, outcome.out_of_memory) == ("12\n", False)

    @pytest.mark.docker
    def test_control(self, plain: Plain) -> None:
        assert plain(self.HOG.format(64)) == (0, "64\n")


class TestProcesses:
    SOURCE = """
import os, time
made = 0
for _ in range(400):
    try:
        if os.fork() == 0: time.sleep(60); os._exit(0)
    except OSError: break
    made += 1
print(made)
"""

    async def test_they_are_counted(self, run: Run) -> None:
        outcome = await run(self.SOURCE, seconds=60)
        assert 100 <= int(outcome.stdout.text) < 128

    async def test_threads_count(self, run: Run) -> None:
        source = "for n in range(400): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
        outcome = await run(f"import threading, time\n{source}", seconds=60)
        assert "can't start new thread" in outcome.stderr.text

    @pytest.mark.docker
    def test_control(self, plain: Plain) -> None:
        assert plain(self.SOURCE)[1] == "400\n"


class TestDisk:
    BIG = """
for n in range(12):
    with open(f'{folder}/{n}', 'wb') as f: f.write(bytes(10 << 20))
print('written')
"""
    MANY = "for n in range(6000): open(f'{folder}/{n}', 'w').close()\nprint('written')"

    @pytest.mark.parametrize("folder", ["/workspace", "/tmp", "/dev/shm"])
    async def test_its_bytes_are_counted(self, run: Run, folder: str) -> None:
        outcome = await run(f"folder = {folder!r}\n{self.BIG}")
        assert "No space left on device" in outcome.stderr.text
        assert (await run("print('usable')")).stdout.text == "usable\n"

    @pytest.mark.parametrize("folder", ["/workspace", "/tmp", "/dev/shm"])
    async def test_its_files_are_counted(self, run: Run, folder: str) -> None:
        outcome = await run(f"folder = {folder!r}\n{self.MANY}")
        assert "No space left on device" in outcome.stderr.text

    async def test_one_file_has_a_limit_though_it_be_sparse(self, run: Run) -> None:
        outcome = await run("open('sparse', 'wb').truncate(1 << 40)")
        assert outcome.signal == 25 or "File too large" in outcome.stderr.text

    async def test_nothing_else_can_be_written(self, run: Run) -> None:
        command = "find / -xdev -writable -not -path '/proc/*' -not -path '/workspace*' -not -path '/tmp*' 2>/dev/null"
        assert (await run(command, language="shell")).stdout.text == ""

    @pytest.mark.docker
    @pytest.mark.parametrize("source", [BIG, MANY])
    def test_control(self, plain: Plain, source: str) -> None:
        assert plain(f"folder = '/tmp'\n{source}") == (0, "written\n")


class TestDescriptors:
    SOURCE = """
files = []
try:
    while len(files) < 1000: files.append(open('/dev/null'))
except OSError: pass
print(len(files))
"""

    async def test_they_are_counted(self, run: Run) -> None:
        assert int((await run(self.SOURCE)).stdout.text) == 253

    @pytest.mark.docker
    def test_control(self, plain: Plain) -> None:
        assert plain(self.SOURCE) == (0, "1000\n")


class TestOutput:
    async def test_a_flood_costs_the_executor_next_to_nothing_and_is_counted(self, run: Run) -> None:
        await run("print(1)")
        before = _reset_peak_kib()
        outcome = await run("import os\nfor _ in range(100): os.write(1, b'x' * 1_000_000)", seconds=60)
        assert _peak_kib() - before < 8 * 1024
        assert outcome.succeeded
        assert outcome.stdout.dropped_bytes == 100_000_000 - (64 << 10)
        assert f"[… {outcome.stdout.dropped_bytes} bytes dropped …]" in outcome.stdout.text

    async def test_the_first_and_the_last_part_are_kept(self, run: Run) -> None:
        outcome = await run("for n in range(10000): print(n)", output_bytes=1000)
        assert outcome.stdout.text.startswith("0\n1\n2\n")
        assert outcome.stdout.text.endswith("9998\n9999\n")
        assert len(outcome.stdout.head) + len(outcome.stdout.tail) == 1000

    async def test_output_below_the_limit_is_whole(self, run: Run) -> None:
        outcome = await run("print('x' * 60000)")
        assert (len(outcome.stdout.text), outcome.stdout.dropped_bytes) == (60001, 0)

    async def test_binary_output_breaks_nothing(self, run: Run) -> None:
        outcome = await run("import os; os.write(1, bytes(range(256)) * 300)")
        assert outcome.succeeded
        assert "\ufffd" in outcome.stdout.text

    async def test_a_character_cut_between_two_writes_arrives_whole(self, cell: Cell) -> None:
        heard: list[str] = []

        async def hear(stream: Stream, text: str) -> None:
            heard.append(text)

        source = (
            "import os, time\nfor byte in 'é€🐧'.encode():\n"
            "    os.write(1, bytes([byte]))\n    time.sleep(2 if byte == 0xE2 else 0.03)"
        )
        outcome = await cell.run(Program("python", source), RunLimits(), hear)
        assert outcome.stdout.text == "".join(heard) == "é€🐧"
        assert len(heard) >= 2

    async def test_a_character_cut_by_the_limit_leaves_no_mess(self, run: Run) -> None:
        outcome = await run("print('€' * 5000, end='')", output_bytes=1000)
        assert "\ufffd" not in outcome.stdout.text

    async def test_output_streams_while_the_program_runs(self, cell: Cell) -> None:
        first = asyncio.Event()

        async def hear(stream: Stream, text: str) -> None:
            first.set()

        source = "import os, time\nprint('first')\nwhile True: time.sleep(0.01)"
        running = asyncio.create_task(
            cell.run(Program("python", source), RunLimits(wall_clock=timedelta(seconds=60)), hear)
        )
        await asyncio.wait_for(first.wait(), 20)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _reset_peak_kib() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_kib()


def _peak_kib() -> int:
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

"""What only more than one program shows of the worker: its deadlines, its signals, and that it runs nothing foreign."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from services.tool_executor.cells import Language, Program, RunLimits
from tests.integration.tool_executor.adversarial.attack import IGNORE_SIGNALS
from tests.integration.tool_executor.adversarial.walls import House, Unhardened

on_one_loop = pytest.mark.asyncio(loop_scope="module")

FORK_BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
BOMBS = {
    "a fork bomb": FORK_BOMB,
    "a fork bomb deaf to signals": IGNORE_SIGNALS + FORK_BOMB,
    "threads that fork": "import os, threading\ndef bomb():\n    while True:\n        try: os.fork()\n"
    "        except OSError: pass\nfor _ in range(8): threading.Thread(target=bomb).start()",
    "a shell that forks": ":(){ :|:& };:\nsleep 60",
    "thousands of files": "n = 0\nwhile n < 3900: n += 1; open(f'/tmp/{n}', 'w').close()\nwhile True: pass",
    "all the memory it may have": "held = bytearray(300 << 20)\nwhile True: pass",
    "a flood of output": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "sessions of their own": "import os\nfor _ in range(40):\n    if os.fork() == 0: os.setsid(); break\n"
    "while True: pass",
    "sessions without end": "import os\nwhile True:\n    try:\n        if os.fork() == 0:\n            os.setsid()\n"
    "            if os.fork(): os._exit(0)\n    except OSError: pass",
}
CROWD = """
import os, time
def processors(): return len(os.sched_getaffinity(0))
before, children = processors(), []
for _ in range(MANY):
    child = os.fork()
    if child == 0: time.sleep(600); os._exit(0)
    children.append(child)
until = time.monotonic() + PATIENCE_S
while processors() == before and time.monotonic() < until: time.sleep(0.01)
for child in children: os.kill(child, 9)
print('fewer' if processors() < before else 'all')
"""
PROCESSORS = "import os; print(len(os.sched_getaffinity(0)))"
LEFT = """
import os
others = [e for e in os.listdir('/proc') if e.isdigit() and int(e) not in (1, os.getpid())]
print(others, os.listdir('/tmp'), os.listdir('/dev/shm'))
"""
CHILDREN = """
import subprocess, time
for _ in range(3): subprocess.Popen(['sleep', '64.75'], start_new_session=True)
time.sleep(60)
"""
SOON_S = 40.0
"""After the deadline; a program that is not ended with its children goes on for ever."""
INTERRUPT = "import os, signal\nfor number in range(1, 65):\n    if number not in (9, 19): os.kill(1, number)"
PLANTED = "import os\nwith open('/workspace/ran', 'a') as marks: marks.write(f'{__name__} {os.getpid()}\\n')\n"


class TestADeadline:
    """How soon it comes is measured on a quiet machine (docs/performance.md); beside other work it takes longer."""

    @pytest.mark.parametrize("bomb", BOMBS)
    @on_one_loop
    async def test_is_the_end_of_everything(self, house: House, bomb: str) -> None:
        cell, allowed = await house.usable(), timedelta(seconds=1)
        language: Language = "shell" if bomb == "a shell that forks" else "python"
        began = time.monotonic()
        outcome = await cell.run(Program(language, BOMBS[bomb]), RunLimits(wall_clock=allowed))
        late_s = time.monotonic() - began - 1
        assert outcome.timed_out
        left = await cell.run(Program("python", LEFT), RunLimits())
        assert left.stdout.text == "[] [] []\n"
        print(f"{bomb}: {late_s * 1e3:.0f} ms after the deadline")
        assert late_s < SOON_S

    @pytest.mark.docker
    def test_control_a_host_that_ends_the_program_alone_leaves_its_children(
        self, unhardened: Callable[[str], Unhardened]
    ) -> None:
        container = unhardened("plain")
        container.run("python", CHILDREN, "timeout", "-s", "KILL", "5")
        assert container.run("shell", "pgrep -fc 'sleep 64.75'; pkill -f '[s]leep 64.75'").stdout == b"4\n"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is but one processor")
class TestACrowd:
    @on_one_loop
    async def test_leaves_the_worker_a_processor(self, house: House) -> None:
        cell = await house.usable()
        outcome = await cell.run(Program("python", _crowd(40, patience_s=20)), RunLimits())
        assert outcome.stdout.text == "fewer\n"
        after = await cell.run(Program("python", PROCESSORS), RunLimits())
        assert after.stdout.text == f"{len(os.sched_getaffinity(0))}\n"

    @on_one_loop
    async def test_that_is_gone_leaves_the_lasting_interpreter_all(self, house: House) -> None:
        cell = await house.usable()
        outcome = await cell.run(Program("python", _crowd(40, patience_s=20), stateful=True), RunLimits())
        assert outcome.stdout.text == "fewer\n"
        after = await cell.run(Program("python", PROCESSORS, stateful=True), RunLimits())
        assert (after.variables, after.stdout.text) == ("kept", f"{len(os.sched_getaffinity(0))}\n")

    @on_one_loop
    async def test_control_a_few_processes_have_all_processors(self, house: House) -> None:
        cell = await house.usable()
        outcome = await cell.run(Program("python", _crowd(4, patience_s=0.3)), RunLimits())
        assert outcome.stdout.text == "all\n"


def _crowd(many: int, *, patience_s: float) -> str:
    return CROWD.replace("MANY", str(many)).replace("PATIENCE_S", str(patience_s))


class TestSignals:
    @on_one_loop
    async def test_to_the_worker_are_lost(self, house: House) -> None:
        cell = await house.usable()
        assert (await cell.run(Program("python", INTERRUPT), RunLimits())).succeeded
        assert (await cell.run(Program("python", "print('usable')"), RunLimits())).stdout.text == "usable\n"
        assert await house.usable() is cell

    @pytest.mark.docker
    def test_control_a_worker_as_python_makes_it_ends(self, image: str) -> None:
        worker = ["docker", "run", "--rm", "--network=none", "--entrypoint=python3", "--label=natscope.test=control"]
        attack = INTERRUPT.replace("\n", "\n    ")
        source = f"import os, time\nif os.fork() == 0:\n    time.sleep(0.2)\n    {attack}\ntime.sleep(40)"
        ended = subprocess.run([*worker, image, "-c", source], capture_output=True, timeout=110, check=False)
        assert b"KeyboardInterrupt" in ended.stderr


class TestModulesInTheWorkspace:
    @on_one_loop
    async def test_are_run_by_no_work_of_the_worker_s(self, house: House) -> None:
        cell = await house.backend.open_cell("planted")
        for name in sorted(sys.stdlib_module_names):
            await cell.put_file(f"{name}.py", PLANTED.encode())
        await cell.put_file("worker/__init__.py", PLANTED.encode())
        await cell.grep("marks")
        await cell.glob("**/*.py")
        await cell.edit_file("abc.py", "import os", "import os, sys")
        await cell.run(Program("shell", "true"), RunLimits(wall_clock=timedelta(seconds=5), cpu_s=4, files=4000))
        await cell.run(Program("python", "while True: pass"), RunLimits(wall_clock=timedelta(seconds=0.2)))
        await cell.restore(await cell.archive())
        assert not await cell.has_file("ran")
        await cell.run(Program("python", "import antigravity"), RunLimits())
        ran = (await cell.read_file("ran")).decode()
        assert [line.split()[0] for line in ran.splitlines()] == ["antigravity"], "a program itself finds them"
        await cell.close()

    def test_control_an_interpreter_that_starts_among_them_runs_them(self, tmp_path: Path) -> None:
        (tmp_path / "antigravity.py").write_text(PLANTED.replace("/workspace", str(tmp_path)))
        subprocess.run([sys.executable, "-c", "import antigravity"], cwd=tmp_path, check=True)
        assert (tmp_path / "ran").exists()

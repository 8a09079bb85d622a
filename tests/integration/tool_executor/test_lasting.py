"""Stateful programs: one interpreter per cell that keeps its variables, and what it may cost the others."""

import asyncio
from datetime import timedelta

import pytest

from services.tool_executor.cells import Cell, Outcome, Program, RunLimits

LIVING = """
import os
states = [open(f'/proc/{e}/stat').read().rpartition(')')[2].split()[0] for e in os.listdir('/proc') if e.isdigit()]
print(len([state for state in states if state != 'Z']))
"""
"""Counts the processes that are not dead; a dead one waits for its parent, the interpreter, to ask for it."""

KILLS = """
import os, time
os.kill({pid}, 9)
try:
    while open("/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
except OSError:
    pass
"""
"""Kills a process and waits until it is dead, which it is not as soon as it is sent the signal."""


async def tell(cell: Cell, source: str, *, seconds: float = 60, stateful: bool = True) -> Outcome:
    limits = RunLimits(wall_clock=timedelta(seconds=seconds))
    return await cell.run(Program("python", source, stateful), limits)


class TestVariables:
    async def test_are_kept_from_program_to_program_and_no_fresh_one_sees_them(self, cell: Cell) -> None:
        first = await tell(cell, "x = 41")
        fresh = await tell(cell, "x", stateful=False)
        second = await tell(cell, "x += 1\nx")
        assert (first.variables, second.variables, fresh.variables) == ("new", "kept", None)
        assert second.stdout.text == "42\n"
        assert "NameError" in fresh.stderr.text

    async def test_survive_an_exception(self, cell: Cell) -> None:
        await tell(cell, "x = 1")
        failed = await tell(cell, "x = 2\n1 / 0")
        assert (failed.exit_code, "ZeroDivisionError" in failed.stderr.text) == (1, True)
        assert 'File "cell-2.py", line 2' in failed.stderr.text
        assert (await tell(cell, "x")).stdout.text == "2\n"

    @pytest.mark.parametrize(
        "end",
        ["while True: pass", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "import sys; sys.exit(7)"],
    )
    async def test_are_gone_when_their_interpreter_is_and_the_next_program_says_so(self, cell: Cell, end: str) -> None:
        await tell(cell, "x = 1")
        assert not (await tell(cell, end, seconds=0.5)).succeeded
        after = await tell(cell, "print('x' in globals())")
        assert (after.variables, after.stdout.text) == ("lost", "False\n")

    async def test_are_gone_when_a_fresh_program_has_killed_their_interpreter(self, cell: Cell) -> None:
        pid = (await tell(cell, "import os; print(os.getpid())")).stdout.text.strip()
        await tell(cell, KILLS.format(pid=pid), stateful=False)
        assert (await tell(cell, "1")).variables == "lost"

    @pytest.mark.parametrize("victim", ["{lasting}", "-1"])
    async def test_are_told_as_gone_by_a_program_that_works_when_the_one_before_killed_as_it_ended(
        self, cell: Cell, victim: str
    ) -> None:
        """The interpreter is large, so that its death takes long; `-1` kills the process of the next program too."""
        for _ in range(2):
            await tell(cell, "large = bytearray(b'x' * (100 << 20))")
            lasting = (await tell(cell, "import os; print(os.getpid())")).stdout.text.strip()
            await tell(cell, f"import os; os.kill({victim.format(lasting=lasting)}, 9)", stateful=False)
            assert (await tell(cell, "print('fresh')", stateful=False)).stdout.text == "fresh\n"
            after = await tell(cell, "print('large' in globals())")
            assert (after.stdout.text, after.variables) == ("False\n", "lost")


class TestWhatIsShown:
    async def test_is_the_value_of_the_last_expression(self, cell: Cell) -> None:
        assert (await tell(cell, "'a' + 'b'")).stdout.text == "'ab'\n"
        assert (await tell(cell, "None")).stdout.text == ""
        assert (await tell(cell, "y = 1")).stdout.text == ""

    async def test_is_kept_as_a_file_where_the_value_draws_itself(self, cell: Cell) -> None:
        source = "class P:\n    def _repr_png_(self): return b'\\x89PNG'\nP()"
        (picture,) = (await tell(cell, source)).artifacts
        assert (picture.path, picture.media_type) == ("output/display-1.png", "image/png")
        assert await cell.read_file(picture.path) == b"\x89PNG"


class TestBetweenPrograms:
    async def test_nothing_runs_and_no_process_of_theirs_is_left(self, cell: Cell) -> None:
        await tell(
            cell,
            "import subprocess, threading, time\nticks = []\n"
            "def tick():\n    while True: ticks.append(1); time.sleep(0.001)\n"
            "threading.Thread(target=tick, daemon=True).start()\n"
            "p = subprocess.Popen(['sleep', '1000'])\nwhile not ticks: time.sleep(0.001)",
        )
        shown = await tell(cell, LIVING, stateful=False)
        assert shown.stdout.text == "3\n", "the worker, the stopped interpreter, and the program itself"
        count = int((await tell(cell, "len(ticks)")).stdout.text)
        await asyncio.sleep(2)
        later = int((await tell(cell, "len(ticks)")).stdout.text)
        assert later - count < 700, "what the two programs took, and not the two seconds between them"
        assert (await tell(cell, "p.wait()")).stdout.text == "-9\n"

"""Cells of monty: what lasts between programs, and what is left when a part of one is killed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from services.tool_executor.cells import Cell, CellLost, Outcome, Program, RunLimits
from services.tool_executor.monty_cells import MontyCells
from tests.chaos.leftovers import processes

ROOT = Path(__file__).resolve().parents[3]
BUSY = "print('begun')\nwhile True: pass"
USER = """
import asyncio, sys
from services.tool_executor.cells import Program, RunLimits
from services.tool_executor.monty_cells import MontyCells

async def hear(stream, text):
    print(text, flush=True)

async def main():
    cells = MontyCells(memory_bytes=int(sys.argv[1]))
    cell = await cells.open_cell("s")
    outcome = await cell.run(Program("python", sys.argv[2]), RunLimits(), hear)
    await cells.close()
    return outcome.exit_code

sys.exit(asyncio.run(main()))
"""
"""A process that runs a program in a cell, as an executor does."""


@pytest.fixture
def memory_bytes() -> int:
    """A size that no other house has, so that its processes can be told apart."""
    return (256 << 20) + int.from_bytes(os.urandom(3), "big")


@pytest.fixture
async def cell(memory_bytes: int) -> AsyncIterator[Cell]:
    """A new cell."""
    cells = MontyCells(memory_bytes=memory_bytes)
    yield await cells.open_cell("s")
    await cells.close()


async def tell(cell: Cell, source: str, *, seconds: float = 60, stateful: bool = True) -> Outcome:
    return await cell.run(Program("python", source, stateful), RunLimits(wall_clock=timedelta(seconds=seconds)))


async def begun(cell: Cell, *, stateful: bool = False) -> "asyncio.Task[Outcome]":
    """Return a program that has begun and does not end."""
    said = asyncio.Event()

    async def hear(_stream: object, _text: str) -> None:
        said.set()

    task = asyncio.create_task(cell.run(Program("python", BUSY, stateful), RunLimits(), hear))
    await said.wait()
    return task


def host(memory_bytes: int) -> int:
    """Return the process of the cell."""
    (found,) = processes(f"monty_host {memory_bytes}")
    return found.pid


def group(leader: int) -> list[int]:
    """Return the living processes of a process group."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == leader and state != "Z":
            found.append(int(folder.name))
    return found


async def until(condition: Callable[[], bool], *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes' state
            await asyncio.sleep(0.02)


class TestVariables:
    async def test_are_kept_from_program_to_program_and_no_fresh_one_sees_them(self, cell: Cell) -> None:
        first = await tell(cell, "x = 41")
        fresh = await tell(cell, "x", stateful=False)
        second = await tell(cell, "x += 1\nx")
        assert (first.variables, second.variables, fresh.variables) == ("new", "kept", None)
        assert second.stdout.text == "42\n"
        assert "NameError" in fresh.stderr.text

    async def test_survive_an_exception_and_another_program_s_deadline(self, cell: Cell) -> None:
        await tell(cell, "x = 1")
        assert (await tell(cell, "x = 2\n1 / 0")).exit_code == 1
        assert (await tell(cell, BUSY, seconds=0.3, stateful=False)).timed_out
        assert (await tell(cell, "x")).stdout.text == "2\n"

    async def test_are_gone_after_their_interpreter_s_deadline_and_the_next_program_says_so(self, cell: Cell) -> None:
        await tell(cell, "x = 1")
        assert (await tell(cell, BUSY, seconds=0.3)).timed_out
        after = await tell(cell, "x")
        assert (after.variables, after.exit_code) == ("lost", 1)


class TestKilling:
    @pytest.mark.parametrize("stateful", [False, True])
    async def test_an_interpreter_that_dies_is_the_outcome_and_the_cell_goes_on(
        self, cell: Cell, memory_bytes: int, stateful: bool
    ) -> None:
        running = await begun(cell, stateful=stateful)
        (interpreter,) = set(group(host(memory_bytes))) - {host(memory_bytes)}
        os.kill(interpreter, 9)
        outcome = await running
        assert (outcome.exit_code, outcome.signal, outcome.stdout.text) == (None, 9, "begun\n")
        after = await tell(cell, "1", stateful=stateful)
        assert (after.succeeded, after.variables) == (True, "lost" if stateful else None)

    async def test_a_cell_that_dies_is_lost_with_its_interpreters(self, cell: Cell, memory_bytes: int) -> None:
        leader = host(memory_bytes)
        running = await begun(cell)
        assert len(group(leader)) == 2, "the control: there is an interpreter"
        os.kill(leader, 9)
        with pytest.raises(CellLost):
            await asyncio.wait_for(running, 20)
        await until(lambda: not group(leader), seconds=20)
        assert cell.lost

    async def test_a_cancelled_program_leaves_no_interpreter(self, cell: Cell, memory_bytes: int) -> None:
        running = await begun(cell)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until(lambda: group(host(memory_bytes)) == [host(memory_bytes)], seconds=20)
        assert (await tell(cell, "1", stateful=False)).succeeded

    async def test_an_executor_that_dies_leaves_nothing(self, memory_bytes: int) -> None:
        executor = start(memory_bytes, BUSY)
        assert executor.stdout is not None
        assert await asyncio.to_thread(executor.stdout.readline) == b"begun\n"
        leader = host(memory_bytes)
        assert len(group(leader)) == 2, "the control: there is an interpreter"
        executor.kill()
        executor.communicate()
        await until(lambda: not group(leader), seconds=20)


class TestEnding:
    def test_a_process_that_ran_programs_ends_well(self, memory_bytes: int) -> None:
        users = [start(memory_bytes, "1 + 1") for _ in range(5)]
        assert [(user.communicate()[1], user.returncode) for user in users] == [(b"", 0)] * 5


def start(memory_bytes: int, source: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}"}
    command = [sys.executable, "-c", USER, str(memory_bytes), source]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

"""What each backend promises: one suite for all; what one does not do it refuses by a typed error."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.cell_files import FileRefused
from services.tool_executor.cells import Backend, Cell, Program, RunLimits, Stream
from tests.integration.tool_executor.conformance.running import WALLED, refused, run

Record = Callable[[str, object], None]

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestRunning:
    async def test_what_a_program_prints_is_told(self, cell: Cell) -> None:
        outcome = await run(cell, "print('grüß dich')")
        assert (outcome.exit_code, outcome.stdout.text, outcome.succeeded) == (0, "grüß dich\n", True)

    async def test_an_error_is_an_outcome_that_says_why(self, cell: Cell) -> None:
        outcome = await run(cell, "print('before')\n1 / 0")
        assert (outcome.exit_code, outcome.stdout.text) == (1, "before\n")
        assert "ZeroDivisionError" in outcome.stderr.text

    async def test_code_that_cannot_be_read_is_an_outcome(self, cell: Cell) -> None:
        outcome = await run(cell, "def (")
        assert outcome.exit_code == 1
        assert "SyntaxError" in outcome.stderr.text

    async def test_a_program_knows_nothing_of_the_one_before(self, cell: Cell) -> None:
        await run(cell, "x = 1")
        assert "NameError" in (await run(cell, "print(x)")).stderr.text

    async def test_a_shell_runs_where_there_is_one(self, backend: Backend, cell: Cell, record_property: Record) -> None:
        if backend.name in WALLED:
            assert (await run(cell, "echo hello", language="shell")).stdout.text == "hello\n"
            return
        with refused(record_property, SandboxUnavailable, "no shell"):
            await run(cell, "echo hello", language="shell")

    async def test_the_host_s_files_are_out_of_reach(self, cell: Cell) -> None:
        outcome = await run(cell, f"print(open({__file__!r}).read())")
        assert outcome.exit_code == 1
        assert outcome.stdout.text == ""


class TestLimits:
    async def test_the_deadline_ends_a_program_and_its_output_stays(self, cell: Cell) -> None:
        began = time.monotonic()
        outcome = await run(cell, "print('begun', flush=True)\nwhile True: pass", wall_clock=timedelta(seconds=1.5))
        assert outcome.timed_out
        assert outcome.stdout.text == "begun\n"
        assert time.monotonic() - began < 30
        assert (await run(cell, "print('usable')")).stdout.text == "usable\n"

    async def test_memory_has_an_end(self, cell: Cell) -> None:
        source = "held = []\nwhile True: held.append('x' * (1 << 20))"
        outcome = await run(cell, source, memory_bytes=128 << 20, wall_clock=timedelta(seconds=60))
        assert outcome.out_of_memory
        assert (await run(cell, "print('usable')")).stdout.text == "usable\n"

    async def test_recursion_has_an_end(self, cell: Cell) -> None:
        outcome = await run(cell, "def f(n): return f(n + 1)\nf(0)")
        assert "RecursionError" in outcome.stderr.text

    async def test_output_is_kept_at_both_ends_and_the_rest_is_counted(self, cell: Cell) -> None:
        outcome = await run(cell, "print('a' * 5000 + 'b' * 5000)", output_bytes=1000)
        assert (outcome.stdout.head[:1], outcome.stdout.tail[-2:]) == (b"a", b"b\n")
        assert outcome.stdout.dropped_bytes == 10_001 - 1000


class TestStreaming:
    async def test_output_is_heard(self, cell: Cell) -> None:
        heard: list[tuple[Stream, str]] = []

        async def hear(stream: Stream, text: str) -> None:
            heard.append((stream, text))

        program = Program("python", "import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr)")
        await cell.run(program, RunLimits(), hear)
        assert "".join(text for stream, text in heard if stream == "stdout") == "out\n"
        assert "".join(text for stream, text in heard if stream == "stderr") == "err\n"


class TestCancelling:
    async def test_a_cancelled_run_leaves_the_cell_usable(self, cell: Cell) -> None:
        running = asyncio.create_task(run(cell, "while True: pass"))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await run(cell, "print('usable')")).stdout.text == "usable\n"


class TestFiles:
    async def test_a_file_is_kept_or_refused(self, backend: Backend, cell: Cell, record_property: Record) -> None:
        if backend.name in WALLED:
            await cell.put_file("notes/a.txt", b"kept")
            assert await cell.read_file("notes/a.txt") == b"kept"
            assert (await run(cell, "print(open('notes/a.txt').read())")).stdout.text == "kept\n"
            return
        with refused(record_property, FileRefused, "keeps no files"):
            await cell.put_file("notes/a.txt", b"kept")

    async def test_what_is_not_there_is_not_given(self, cell: Cell) -> None:
        assert not await cell.has_file("absent")
        with pytest.raises(FileRefused):
            await cell.read_file("absent")


class TestSeparation:
    async def test_cells_know_nothing_of_each_other(self, backend: Backend, cell: Cell) -> None:
        other = await backend.open_cell("other")
        assert await other.list_files() == ()
        await other.close()
        assert (await run(cell, "print('usable')")).stdout.text == "usable\n"

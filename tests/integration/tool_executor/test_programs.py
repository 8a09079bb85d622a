"""What a program finds in a cell, and how its end is told; the same for every backend."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from services.tool_executor.cells import Backend, Cell, CellLost, Outcome, Program, RunLimits, Stream

Run = Callable[..., Awaitable[Outcome]]


class TestPython:
    async def test_it_prints_and_ends_well(self, run: Run) -> None:
        outcome = await run("print('hello', 6 * 7)")
        assert (outcome.exit_code, outcome.stdout.text, outcome.stderr.text) == (0, "hello 42\n", "")
        assert outcome.succeeded

    async def test_an_exit_code_is_told(self, run: Run) -> None:
        assert (await run("import sys; sys.exit(7)")).exit_code == 7

    async def test_a_message_given_to_exit_is_on_standard_error(self, run: Run) -> None:
        outcome = await run("raise SystemExit('no good')")
        assert (outcome.exit_code, outcome.stderr.text) == (1, "no good\n")

    async def test_an_exception_is_shown_with_the_program_s_own_lines_only(self, run: Run) -> None:
        outcome = await run("def half(x):\n    return x / 0\nhalf(1)")
        assert outcome.exit_code == 1
        assert "return x / 0" in outcome.stderr.text
        assert outcome.stderr.text.count("File ") == 2
        assert outcome.stderr.text.endswith("ZeroDivisionError: division by zero\n")

    async def test_a_syntax_error_is_shown_where_it_is(self, run: Run) -> None:
        outcome = await run("x = 1\ny = = 2\n")
        assert outcome.exit_code == 1
        assert 'File "main.py", line 2' in outcome.stderr.text

    async def test_a_crash_is_told_as_its_signal(self, run: Run) -> None:
        outcome = await run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        assert (outcome.exit_code, outcome.signal) == (None, 11)

    async def test_standard_input_is_at_its_end(self, run: Run) -> None:
        assert (await run("import sys; print(repr(sys.stdin.read()))")).stdout.text == "''\n"

    async def test_variables_are_gone_in_the_next_run(self, run: Run) -> None:
        await run("import builtins; builtins.left = left = 1")
        outcome = await run("left")
        assert "NameError" in outcome.stderr.text

    async def test_files_are_there_in_the_next_run(self, run: Run) -> None:
        await run("open('kept.txt', 'w').write('kept')")
        assert (await run("print(open('kept.txt').read())")).stdout.text == "kept\n"

    async def test_a_file_nobody_closed_is_written_all_the_same(self, run: Run) -> None:
        await run("f = open('open.txt', 'w'); f.write('last words')")
        assert (await run("print(open('open.txt').read())")).stdout.text == "last words\n"

    async def test_exit_handlers_and_threads_get_their_turn(self, run: Run) -> None:
        source = (
            "import atexit, threading, time\n"
            "atexit.register(print, 'handler')\n"
            "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\n"
        )
        assert (await run(source)).stdout.text == "thread\nhandler\n"

    async def test_a_module_of_the_workspace_is_imported_whatever_its_name(self, run: Run, cell: Cell) -> None:
        await cell.put_file("worker.py", b"answer = 42")
        assert (await run("import worker; print(worker.answer)")).stdout.text == "42\n"

    async def test_processes_of_its_own_can_be_started(self, run: Run) -> None:
        source = (
            "import multiprocessing, subprocess\n"
            "print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout, end='')\n"
            "with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
        )
        assert (await run(source)).stdout.text == "child\n[1, 2]\n"

    async def test_random_numbers_differ_from_run_to_run(self, run: Run) -> None:
        source = "import random, uuid; print(random.random(), uuid.uuid4())"
        assert (await run(source)).stdout.text != (await run(source)).stdout.text

    async def test_a_fork_of_its_own_has_one_thread_and_numbers_of_its_own(self, run: Run) -> None:
        source = (
            "import os, random, threading\n"
            "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
            "pid = os.fork()\n"
            "os.write(1, f'{threading.active_count()} {random.random()}\\n'.encode())\n"
            "os._exit(0) if pid == 0 else os.waitpid(pid, 0)"
        )
        lines = [line.split() for line in (await run(source)).stdout.text.splitlines()]
        assert sorted(line[0] for line in lines) == ["1", "2"]
        assert len({line[1] for line in lines}) == 2

    async def test_its_thread_is_known_by_the_kernel_s_number(self, run: Run) -> None:
        outcome = await run("import threading as t; print(t.main_thread().native_id == t.get_native_id())")
        assert outcome.stdout.text == "True\n"

    @pytest.mark.parametrize("before", ["", "import gc; gc.collect()\n"], ids=["young", "old"])
    async def test_what_holds_itself_is_ended_too(self, before: str, run: Run) -> None:
        source = "class Thing:\n    def __del__(self): print('ended')\nthing = Thing(); thing.itself = thing\n"
        assert (await run(source + before)).stdout.text == "ended\n"


class TestShell:
    async def test_it_has_the_shell_s_exit_code_and_streams(self, run: Run) -> None:
        outcome = await run("echo out; echo err >&2; exit 3", language="shell")
        assert (outcome.exit_code, outcome.stdout.text, outcome.stderr.text) == (3, "out\n", "err\n")

    async def test_pipes_and_files_work(self, run: Run) -> None:
        outcome = await run("seq 1 5 > n.txt && sort -r n.txt | head -1", language="shell")
        assert outcome.stdout.text == "5\n"

    async def test_a_command_that_is_not_there_says_so(self, run: Run) -> None:
        outcome = await run("no-such-command", language="shell")
        assert outcome.exit_code == 127
        assert "no-such-command" in outcome.stderr.text

    @pytest.mark.parametrize("size", [1 << 10, 128 << 10, 1_200_000])
    async def test_a_command_line_may_be_longer_than_an_argument(self, run: Run, size: int) -> None:
        text = f"cat > long.txt <<'END'\n{'x' * size}\nEND\nwc -c < long.txt; echo $0 $#; ls /proc/self/fd; exit 5"
        outcome = await run(text, language="shell")
        assert outcome.stderr.text == ""
        assert (outcome.exit_code, outcome.stdout.text) == (5, f"{size + 1}\n/bin/bash 0\n0\n1\n2\n3\n")

    async def test_a_login_shell_finds_python_by_the_names_that_others_do(self, run: Run) -> None:
        outcome = await run('bash -lc \'python -c "print(1)" && python3 -c "print(2)"\'', language="shell")
        assert outcome.stdout.text == "1\n2\n"


class TestCancelling:
    async def test_a_cancelled_run_is_stopped_and_the_cell_stays_usable(self, cell: Cell, run: Run) -> None:
        started = asyncio.Event()

        async def hear(stream: Stream, text: str) -> None:
            started.set()

        source = "import time; open('mark', 'w'); print('up'); time.sleep(60)"
        task = asyncio.create_task(
            cell.run(Program("python", source), RunLimits(wall_clock=timedelta(seconds=60)), hear)
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await run("import os; print(os.path.exists('mark'))")).stdout.text == "True\n"


class TestLosing:
    async def test_a_closed_cell_is_lost(self, cell: Cell, run: Run) -> None:
        await cell.close()
        assert cell.lost
        with pytest.raises(CellLost):
            await run("print(1)")

    async def test_closing_the_backend_ends_its_cells(self, backend: Backend, cell: Cell) -> None:
        await backend.close()
        assert cell.lost

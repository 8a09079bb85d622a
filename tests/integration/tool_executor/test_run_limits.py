"""What one run may use within its cell, and what it leaves behind."""

import uuid
from datetime import timedelta

import pytest

from services.tool_executor.backends import choose_backend
from services.tool_executor.cells import Backend, Cell, Outcome, Program, RunLimits
from services.tool_executor.settings import Settings


async def run(cell: Cell, source: str, **limits: float) -> Outcome:
    wanted = RunLimits(**({"wall_clock": timedelta(seconds=60)} | limits))  # pyright: ignore[reportArgumentType]
    return await cell.run(Program("python", source), wanted)


CASES = {
    "cpu_s": (0.3, "x = 0\nfor _ in range(10 ** 9): x += 1"),
    "processes": (
        4,
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0: time.sleep(5); os._exit(0)\ntime.sleep(5)",
    ),
    "disk_bytes": (1_000_000, "open('big', 'wb').write(bytes(4_000_000))"),
    "files": (20, "for number in range(60): open(f'f{number}', 'w').close()"),
}


class TestALimitOfOneRun:
    @pytest.mark.parametrize("name", CASES)
    async def test_ends_it_or_is_told_at_its_end_and_the_cell_lives_on(self, cell: Cell, name: str) -> None:
        limit, source = CASES[name]
        assert (await run(cell, source, **{name: limit})).over == name
        await run(cell, "import os\nfor name in os.listdir('.'): os.path.isfile(name) and os.remove(name)")
        assert (await run(cell, "print(1)")).stdout.text == "1\n"

    @pytest.mark.parametrize("name", [name for name in CASES if name != "cpu_s"])
    async def test_is_not_there_for_a_run_that_names_none(self, cell: Cell, name: str) -> None:
        _, source = CASES[name]
        outcome = await run(cell, source.replace("time.sleep(5)", "time.sleep(0.1)"))
        assert (outcome.over, outcome.exit_code) == (None, 0)

    async def test_counts_descriptors(self, cell: Cell) -> None:
        source = "found = []\nwhile True: found.append(open('/dev/null'))"
        outcome = await run(cell, source, open_files=16)
        assert "Too many open files" in outcome.stderr.text


LITTER = """
import os
open('/tmp/a', 'w').write('x')
open('/dev/shm/b', 'w').write('y')
open('kept', 'w').write('z')
os.symlink('/workspace', '/tmp/link')
place = '/tmp/d'
for _ in range(300):
    os.mkdir(place)
    os.chdir(place)
    place = 'd'
os.chmod('/tmp/d', 0)
"""
FILL = """
try:
    with open('/tmp/full', 'wb') as file:
        while True:
            file.write(bytes(1 << 20))
except OSError:
    pass
"""
TEMPORARY = "import tempfile; print(tempfile.TemporaryFile(dir='/tmp').write(b'abc'))"
SPAWNS = """
import multiprocessing
def double(x): return 2 * x
if __name__ == '__main__':
    with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(double, [1]))
"""
SHOWN = "import os; print(os.listdir('/tmp'), os.listdir('/dev/shm'), os.path.exists('kept'))"


class TestARunThatIsOver:
    async def test_leaves_files_to_the_next_run_and_no_shared_memory(self, cell: Cell) -> None:
        littered = await run(cell, LITTER)
        assert not littered.temporary_lost
        assert (await run(cell, f"{SHOWN}; print(open('/tmp/a').read())")).stdout.text.endswith(" [] True\nx\n")

    async def test_leaves_no_temporary_files_if_it_was_stopped_and_says_so(self, cell: Cell) -> None:
        stopped = await cell.run(Program("python", LITTER + "while True: pass"), RunLimits(timedelta(seconds=2)))
        assert (stopped.timed_out, stopped.temporary_lost) == (True, True)
        assert (await run(cell, SHOWN)).stdout.text == "[] [] True\n"

    async def test_has_lost_no_temporary_files_if_there_were_none(self, cell: Cell) -> None:
        assert not (
            await cell.run(Program("python", "while True: pass"), RunLimits(timedelta(seconds=0.5)))
        ).temporary_lost

    async def test_leaves_a_temporary_folder_that_is_open(self, cell: Cell) -> None:
        shut = "import contextlib, os\nwith contextlib.suppress(OSError): os.chmod('/tmp', 0)\nwhile True: pass"
        assert (await cell.run(Program("python", shut), RunLimits(timedelta(seconds=1)))).timed_out
        assert (await run(cell, TEMPORARY)).stdout.text == "3\n"

    async def test_leaves_room_for_temporary_files_to_the_next_run(self, cell: Cell) -> None:
        assert (await run(cell, FILL)).temporary_lost
        assert (await run(cell, TEMPORARY)).stdout.text == "3\n"

    async def test_leaves_the_source_of_programs_that_spawn_to_nobody(self, cell: Cell) -> None:
        assert (await run(cell, SPAWNS)).stdout.text == "[2]\n"
        assert (await run(cell, SHOWN)).stdout.text == "[] [] False\n"

    async def test_leaves_nothing_outside_of_the_workspace_where_the_operator_says_so(self, settings: Settings) -> None:
        empties = settings.model_copy(update={"keep_temporary": False})
        backend = await choose_backend(empties, instance=f"instance-{uuid.uuid4().hex}")
        try:
            cell = await backend.open_cell("session-1")
            assert not (await run(cell, LITTER)).temporary_lost
            assert (await run(cell, SHOWN)).stdout.text == "[] [] True\n"
        finally:
            await backend.close()

    async def test_leaves_no_shared_memory_of_the_system_five_kind(self, backend: Backend, cell: Cell) -> None:
        made = await run(cell, "import ctypes\nlibc = ctypes.CDLL(None)\nprint(libc.shmget(77, 4096, 0o1600) >= 0)")
        assert made.stdout.text == f"{backend.name == 'docker'}\n", "refused where no one counts it"
        shown = await run(cell, "print(len(open('/proc/sysvipc/shm').readlines()))")
        assert shown.stdout.text == "1\n"

    async def test_has_no_more_system_five_memory_than_room_for_files(self, cell: Cell, settings: Settings) -> None:
        part = settings.disk_bytes // 4
        taken = (
            f"import ctypes\ntake = ctypes.CDLL(None).shmget\nprint([take(0, {part}, 0o1600) >= 0 for _ in range(8)])"
        )
        assert (await run(cell, taken)).stdout.text.count("True") <= 4

    async def test_says_when_there_was_no_room_left(self, cell: Cell) -> None:
        roomy, full = await run(cell, "print(1)"), await run(cell, FILL)
        assert (roomy.disk_full, full.disk_full) == (False, True)

    async def test_tells_new_and_changed_files_of_the_output_folder(self, cell: Cell) -> None:
        await cell.put_file("output/before.csv", b"1,2\n")
        make = "import os\nopen('output/new.png', 'wb').write(b'12345')\nos.symlink('/etc/passwd', 'output/link')"
        made = await run(cell, make)
        changed = await run(cell, "open('output/before.csv', 'a').write('3,4\\n')")
        nothing = await run(cell, "print(open('output/new.png', 'rb').read())")
        told = [(each.path, each.media_type, each.size_bytes) for each in made.artifacts]
        assert told == [("output/new.png", "image/png", 5)]
        assert [each.path for each in changed.artifacts] == ["output/before.csv"]
        assert nothing.artifacts == ()

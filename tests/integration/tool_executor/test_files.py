"""Files go in and out of a workspace as bytes, and never by a way round it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from services.tool_executor.cells import Backend, Cell, FileRefused, Outcome, Program, RunLimits

Run = Callable[..., Awaitable[Outcome]]


class TestPuttingAndReading:
    async def test_bytes_come_back_as_they_went(self, cell: Cell) -> None:
        data = bytes(range(256)) * 10_000
        await cell.put_file("deep/down/data.bin", data)
        assert await cell.read_file("deep/down/data.bin") == data

    async def test_an_empty_file_is_a_file(self, cell: Cell) -> None:
        await cell.put_file("empty", b"")
        assert await cell.read_file("empty") == b""
        assert await cell.has_file("empty")
        assert not await cell.has_file("nothing")

    async def test_a_shorter_file_replaces_a_longer_one(self, cell: Cell) -> None:
        await cell.put_file("a", b"long content")
        await cell.put_file("a", b"short")
        assert await cell.read_file("a") == b"short"

    async def test_a_program_reads_what_was_put_and_writes_what_is_read(self, cell: Cell, run: Run) -> None:
        await cell.put_file("in.txt", b"42")
        await run("open('out.txt', 'w').write(str(int(open('in.txt').read()) * 2))")
        assert await cell.read_file("out.txt") == b"84"

    async def test_files_are_listed_with_their_sizes(self, cell: Cell, run: Run) -> None:
        await run("mkdir -p d && echo hello > d/a && ln -s /etc/passwd link && mkfifo pipe", language="shell")
        assert [(file.path, file.size_bytes) for file in await cell.list_files()] == [("d/a", 6)]

    async def test_a_name_in_any_language_is_kept(self, cell: Cell) -> None:
        await cell.put_file("größe 测量.csv", b"1")
        assert [file.path for file in await cell.list_files()] == ["größe 测量.csv"]


class TestRefusing:
    @pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "./a", "a/", "nul\0l"])
    async def test_a_path_that_is_not_below_the_workspace(self, cell: Cell, path: str) -> None:
        with pytest.raises(FileRefused, match="not a relative path"):
            await cell.put_file(path, b"x")
        with pytest.raises(FileRefused, match="not a relative path"):
            await cell.read_file(path)

    async def test_a_link_is_not_followed(self, cell: Cell, run: Run) -> None:
        await run("ln -s /etc/passwd file; ln -s /tmp folder; ln -s /proc/1/environ env", language="shell")
        for path in ("file", "folder/x", "env"):
            with pytest.raises(FileRefused):
                await cell.read_file(path)
            with pytest.raises(FileRefused):
                await cell.put_file(path, b"x")
        assert (await run("import os; print(os.listdir('/tmp'))")).stdout.text == "[]\n"

    async def test_what_is_no_regular_file(self, cell: Cell, run: Run) -> None:
        await run("mkfifo pipe; mkdir folder", language="shell")
        for path in ("pipe", "folder"):
            with pytest.raises(FileRefused):
                await cell.read_file(path)

    async def test_a_file_that_is_too_large_to_be_wanted(self, cell: Cell, run: Run) -> None:
        await run("open('sparse', 'wb').truncate(50 << 20)")
        with pytest.raises(FileRefused, match="over the limit") as caught:
            await cell.read_file("sparse", limit_bytes=1 << 20)
        assert caught.value.code == "too_large"

    async def test_a_file_there_is_no_room_for(self, cell: Cell, run: Run) -> None:
        with pytest.raises(FileRefused):
            await cell.put_file("big", bytes(80 << 20))
        assert (await run("print('usable')")).stdout.text == "usable\n"

    async def test_a_maze_of_folders_takes_neither_the_worker_down_nor_files_beside_it(
        self, cell: Cell, run: Run
    ) -> None:
        await run("import os\nopen('beside', 'w').close()\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')")
        assert [each.path for each in await cell.list_files()] == ["beside"]
        assert (await run("print('usable')")).stdout.text == "usable\n"

    async def test_a_listing_longer_than_a_frame_is_whole(self, cell: Cell, run: Run) -> None:
        await run("for n in range(3900): open('x' * 240 + str(n), 'w').close()")
        assert len(await cell.list_files()) == 3900


class TestSeparation:
    async def test_nothing_of_one_cell_is_seen_in_another(self, backend: Backend) -> None:
        first, second = await backend.open_cell("a"), await backend.open_cell("b")
        leave = """
import os, socket
for folder in ('/workspace', '/tmp', '/dev/shm'): open(folder + '/mine', 'w').write('secret')
server = socket.socket(socket.AF_UNIX); server.bind('\\0abstract'); server.listen()
print('left')
"""
        assert (await first.run(Program("python", leave), RunLimits())).stdout.text == "left\n"
        look = """
import os, socket
print([p for p in ('/workspace/mine', '/tmp/mine', '/dev/shm/mine') if os.path.exists(p)])
print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()) == [1, os.getpid()])
"""
        seen = await second.run(Program("python", look), RunLimits(wall_clock=timedelta(seconds=10)))
        assert seen.stdout.text == "[]\nTrue\n"

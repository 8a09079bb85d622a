"""The work on files that a real cell does for the executor."""

import io
import tarfile
from collections.abc import Awaitable, Callable

import pytest

from services.tool_executor.cells import Backend, Cell, FileRefused, Outcome, Program, RunLimits

Run = Callable[..., Awaitable[Outcome]]


def _tar(name: str, kind: bytes = tarfile.REGTYPE, *, target: str = "", data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(mode="w", fileobj=stream) as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, target, len(data)
        tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


class TestEditing:
    async def test_text_is_replaced(self, cell: Cell) -> None:
        await cell.put_file("d/a", b"one one")
        assert await cell.edit_file("d/a", "one", "zwölf", replace_all=True) == 2
        assert await cell.read_file("d/a") == "zwölf zwölf".encode()

    async def test_refusals_say_why(self, cell: Cell) -> None:
        await cell.put_file("a", b"one one")
        for path, old, code in (("a", "one", "not_unique"), ("a", "x", "not_found"), ("b", "x", "not_found")):
            with pytest.raises(FileRefused) as caught:
                await cell.edit_file(path, old, "new")
            assert caught.value.code == code

    async def test_a_link_is_not_edited_through(self, cell: Cell, run: Run) -> None:
        await run("echo text > a; ln -s a link", language="shell")
        with pytest.raises(FileRefused) as caught:
            await cell.edit_file("link", "text", "new")
        assert caught.value.code == "not_a_file"


class TestFinding:
    async def test_glob_finds_by_path(self, cell: Cell) -> None:
        for path in ("a.py", "d/b.py", "d/c.txt"):
            await cell.put_file(path, b"x")
        assert {file.path for file in await cell.glob("**/*.py")} == {"a.py", "d/b.py"}
        with pytest.raises(FileRefused) as caught:
            await cell.glob("../*")
        assert caught.value.code == "bad_pattern"

    async def test_grep_finds_lines(self, cell: Cell) -> None:
        await cell.put_file("d/a.txt", b"one\ntwo\nthree\n")
        found = await cell.grep("^t", context=1, max_matches=1)
        assert [(match.path, match.line, match.before, match.after) for match in found.found] == [
            ("d/a.txt", 2, ("one",), ("three",))
        ]
        assert found.truncated

    async def test_a_pattern_that_takes_for_ever_is_ended_and_the_cell_goes_on(self, cell: Cell, run: Run) -> None:
        await cell.put_file("a", b"a" * 40 + b"!")
        with pytest.raises(FileRefused) as caught:
            await cell.grep("(a+)+$")
        assert caught.value.code == "bad_pattern"
        assert (await run("print('usable')")).stdout.text == "usable\n"


class TestRemoving:
    async def test_links_go_and_what_they_lead_to_stays(self, cell: Cell, run: Run) -> None:
        await run("mkdir d e; echo 1 > d/1; ln -s ../e d/link; echo 2 > e/2; ln -s e f", language="shell")
        assert await cell.remove_files(["d", "f/2", "nothing"]) == 2
        assert [file.path for file in await cell.list_files()] == ["e/2"]


class TestArchiving:
    async def test_a_workspace_moves_to_another_cell(self, backend: Backend) -> None:
        first, second = await backend.open_cell("a"), await backend.open_cell("b")
        data = bytes(range(256)) * 8000
        await first.put_file("d/data", data)
        await second.put_file("before", b"x")
        assert [file.path for file in await second.restore(await first.archive())] == ["d/data"]
        assert await second.read_file("d/data") == data

    async def test_over_the_limit(self, cell: Cell) -> None:
        await cell.put_file("a", bytes(1 << 20))
        with pytest.raises(FileRefused) as caught:
            await cell.archive(limit_bytes=1 << 19)
        assert caught.value.code == "too_large"

    @pytest.mark.parametrize(
        ("archive", "code"),
        [
            (_tar("l", tarfile.SYMTYPE, target="/etc/passwd"), "bad_archive"),
            (_tar("../up", data=b"x"), "bad_archive"),
            (_tar("/tmp/x", data=b"x"), "bad_archive"),
            (b"no tar", "bad_archive"),
            (b"", "bad_archive"),
            (_tar("big", data=bytes(80 << 20)), "too_large"),
        ],
        ids=["link", "up", "absolute", "no tar", "nothing", "too large"],
    )
    async def test_a_hostile_one_changes_nothing(self, cell: Cell, run: Run, archive: bytes, code: str) -> None:
        await cell.put_file("before", b"x")
        with pytest.raises(FileRefused) as caught:
            await cell.restore(archive)
        assert caught.value.code == code
        assert [file.path for file in await cell.list_files()] == ["before"]
        assert (await run("print('usable')")).stdout.text == "usable\n"

    async def test_a_program_finds_no_staged_archive(self, cell: Cell, run: Run) -> None:
        await cell.restore(_tar("a", data=b"x"))
        assert (await run("import os; print(os.readlink('/proc/self/fd/0'))")).stdout.text == "/dev/null\n"

    async def test_a_lasting_interpreter_keeps_its_variables_meanwhile(self, cell: Cell) -> None:
        await cell.run(Program("python", "x = 42", stateful=True), RunLimits())
        await cell.put_file("a", b"text")
        assert len((await cell.grep("text")).found) == 1
        await cell.restore(await cell.archive())
        again = await cell.run(Program("python", "print(x, open('a').read())", stateful=True), RunLimits())
        assert again.stdout.text == "42 text\n"

    async def test_a_large_workspace_comes_back(self, cell: Cell) -> None:
        data = bytes(range(256)) * (160 << 10)
        await cell.put_file("large", data)
        archive = await cell.archive()
        await cell.restore(archive)
        assert await cell.read_file("large", limit_bytes=1 << 30) == data

    async def test_more_files_than_there_is_room_for(self, cell: Cell) -> None:
        stream = io.BytesIO()
        with tarfile.open(mode="w", fileobj=stream) as tar:
            for number in range(5000):
                tar.addfile(tarfile.TarInfo(f"f{number}"))
        await cell.put_file("before", b"x")
        with pytest.raises(FileRefused) as caught:
            await cell.restore(stream.getvalue())
        assert caught.value.code == "too_large"
        assert [file.path for file in await cell.list_files()] == ["before"]

"""The tools for files and the doors of workspaces with real cells behind them, hostile paths and archives included."""

import io
import tarfile
from collections.abc import AsyncIterator

import pytest

from natscope import client
from natscope.bus import BusSettings
from natscope.client import House, Workspace
from natscope.contracts import tool
from natscope.contracts.blocks import ImageBlock, ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid, NatscopeError, NotFound
from services.tool_executor.app import app
from services.tool_executor.settings import Settings

DRAW = r"""
import os, struct, zlib

def part(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

os.makedirs("output", exist_ok=True)
head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
parts = part(b"IHDR", head), part(b"IDAT", zlib.compress(b"\0\0")), part(b"IEND", b"")
open("output/dot.png", "wb").write(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
"""


@pytest.fixture
async def house(nats_url: str, settings: Settings) -> AsyncIterator[House]:
    """A guest of a house whose tool executor is open."""
    where = BusSettings(url=nats_url)
    async with app(settings, bus=where), client.open(where) as found:
        yield found


@pytest.fixture
def place(house: House) -> Workspace:
    """The files of session `s1`."""
    return house.workspace("s1")


async def use(house: House, name: str, **arguments: object) -> ToolResultBlock:
    call = ToolUseBlock.model_validate({"id": "c", "name": name, "input": arguments})
    asked = tool.Call(call_id=new_id(), call=call, session="s1")
    return (await house.bus.ask(tool.CALL, asked, name)).result


async def python(house: House, code: str, **more: object) -> str:
    return text_of((await use(house, "execute_python", code=code, **more)).output)


def archive(*members: tarfile.TarInfo) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return whole.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    facts = tarfile.TarInfo(name)
    facts.type, facts.size, facts.linkname = kind, size, link
    return facts


class TestTools:
    async def test_a_file_is_written_edited_found_read_and_run(self, house: House) -> None:
        await use(house, "write_file", path="src/a.py", content="def f():\n    return 41\n\nprint(f())\n")
        edited = await use(house, "edit_file", path="src/a.py", old_string="41", new_string="42")
        assert edited.metadata["replaced"] == 1
        assert text_of((await use(house, "grep", pattern="return", glob="*.py")).output) == "src/a.py:2:    return 42"
        assert text_of((await use(house, "glob", pattern="**/*.py")).output) == "src/a.py"
        assert text_of((await use(house, "read_file", path="src/a.py", offset=2, limit=1)).output).startswith("2\t")
        shell = await use(house, "execute_shell", command="python3 src/a.py")
        assert text_of(shell.output) == "42\n"

    async def test_a_file_or_folder_is_searched_whatever_letters_its_name_has(self, house: House) -> None:
        for path in ("[id]/[a]*.{x,y}", "i/a"):
            await use(house, "write_file", path=path, content="word")
        for path in ("[id]", "[id]/[a]*.{x,y}"):
            assert text_of((await use(house, "grep", pattern="word", path=path)).output) == "[id]/[a]*.{x,y}:1:word"
            assert text_of((await use(house, "list_files", path=path)).output).split()[-1] == "[id]/[a]*.{x,y}"
        assert text_of((await use(house, "glob", pattern="*", path="[id]")).output) == "[id]/[a]*.{x,y}"

    async def test_what_a_program_leaves_in_the_output_folder_comes_with_the_result(self, house: House) -> None:
        result = await use(house, "execute_python", code=DRAW)
        assert [type(block) for block in result.output if isinstance(block, ImageBlock)] == [ImageBlock], result
        (shown,) = (await use(house, "read_file", path="output/dot.png")).output
        assert isinstance(shown, ImageBlock)

    async def test_variables_are_kept_between_stateful_calls_alone(self, house: House) -> None:
        await python(house, "x = 42", stateful=True)
        assert "42" in await python(house, "x", stateful=True)
        assert "NameError" in await python(house, "print(x)")

    @pytest.mark.parametrize(
        "path", ["../a", "/etc/passwd", "link", "folder-link/passwd", "pipe", "/dev/zero", "/proc/self/environ"]
    )
    async def test_nothing_but_regular_files_inside_is_read(self, house: House, path: str) -> None:
        await python(
            house,
            "import os; os.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'folder-link'); os.mkfifo('pipe')",
        )
        assert await python(house, "print(open('link').read() == open('folder-link/passwd').read() != '')") == "True\n"
        result = await use(house, "read_file", path=path)
        assert result.state == "error"
        assert result.metadata["code"] in ("bad_path", "not_a_file", "not_found")

    @pytest.mark.parametrize("path", ["../a", "/etc/a", "link/a", "/workspace/../a"])
    async def test_nothing_is_written_outside(self, house: House, path: str) -> None:
        await python(house, "import os; os.symlink('/tmp', 'link')")
        assert (await use(house, "write_file", path=path, content="x")).state == "error"
        assert await python(house, "import os; print(os.path.exists('/tmp/a'))") == "False\n"


class TestWorkspaces:
    async def test_what_is_brought_is_there_for_programs_and_what_they_make_is_fetched(
        self, house: House, place: Workspace
    ) -> None:
        await place.write({"in/a.txt": b"41"})
        await python(house, "open('b.txt', 'w').write(str(int(open('in/a.txt').read()) + 1))")
        assert [file.path for file in await place.files()] == ["b.txt", "in/a.txt"]
        assert await place.read("b.txt") == {"b.txt": b"42"}

    @pytest.mark.parametrize("megabytes", [5, 50])
    async def test_files_of_many_megabytes_go_in_and_out(self, place: Workspace, megabytes: int) -> None:
        large = bytes(range(256)) * (megabytes << 12)
        await place.write({"large": large})
        assert await place.read("large") == {"large": large}

    async def test_folders_within_folders_without_end_hide_no_other_file(self, house: House, place: Workspace) -> None:
        await python(
            house, "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nopen('lost', 'w').write('x')"
        )
        await place.write({"e/found.txt": b"word"})
        assert [file.path for file in await place.files()] == ["e/found.txt"]
        assert text_of((await use(house, "grep", pattern="word")).output) == "e/found.txt:1:word"
        assert text_of((await use(house, "glob", pattern="**/*.txt")).output) == "e/found.txt"

    async def test_a_file_of_a_session_that_has_none_is_named(self, place: Workspace) -> None:
        with pytest.raises(NotFound, match=r"'a\.txt'"):
            await place.read("a.txt")

    async def test_a_session_moves_with_its_files(self, nats_url: str, settings: Settings) -> None:
        where = BusSettings(url=nats_url)
        async with client.open(where) as house:
            place = house.workspace("s1")
            async with app(settings, bus=where):
                await python(house, "import os; os.makedirs('d'); open('d/a', 'w').write('here'); os.symlink('d', 'l')")
                taken = await place.snapshot()
            async with app(settings, bus=where):
                assert await place.files() == []
                await place.restore(taken.archive)
                assert await python(house, "import os; print(open('d/a').read(), sorted(os.listdir()))") == (
                    "here ['d', 'output']\n"
                )

    @pytest.mark.parametrize(
        "hostile",
        [
            member("../a"),
            member("/etc/a"),
            member("d/../../a"),
            member("link", tarfile.SYMTYPE, link="/etc/passwd"),
            member("hard", tarfile.LNKTYPE, link="../etc/passwd"),
            member("device", tarfile.CHRTYPE),
            member("pipe", tarfile.FIFOTYPE),
            member("bomb", size=80 << 20),
        ],
        ids=lambda hostile: hostile.name.replace("/", "_"),
    )
    async def test_a_hostile_archive_is_refused_and_changes_nothing(
        self, place: Workspace, hostile: tarfile.TarInfo
    ) -> None:
        await place.write({"kept": b"1"})
        with pytest.raises(NatscopeError):
            await place.restore(archive(member("fine", size=3), hostile))
        assert [file.path for file in await place.files()] == ["kept"]
        await place.restore(archive(member("fine", size=3)))
        assert [file.path for file in await place.files()] == ["fine"]

    async def test_what_is_no_archive_is_refused(self, place: Workspace) -> None:
        with pytest.raises(BodyInvalid):
            await place.restore(b"PK\x03\x04 no tar at all" * 100)

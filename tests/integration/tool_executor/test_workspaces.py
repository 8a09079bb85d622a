"""A session's files from outside, on a real server with two executors; the cells are stand-ins."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from natscope import client
from natscope.bus import BusSettings
from natscope.client import House
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid, NotFound
from tests.doors.tool_executor.fakes import FakeBackend
from tests.integration.tool_executor.executors import executor


@pytest.fixture
async def backends(nats_url: str) -> AsyncIterator[list[FakeBackend]]:
    """The backends of two executors."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(executor(nats_url)) for _ in range(2)]


@pytest.fixture
async def house(nats_url: str, backends: list[FakeBackend]) -> AsyncIterator[House]:
    """A guest of theirs."""
    async with client.open(BusSettings(url=nats_url)) as found:
        yield found


async def read_file(house: House, session: str, path: str) -> str:
    call = ToolUseBlock(id="c", name="read_file", input={"path": path, "line_numbers": False})
    asked = tool.Call(call_id=new_id(), call=call, session=session)
    return text_of((await house.bus.ask(tool.CALL, asked, "read_file")).result.output)


class TestFiles:
    async def test_what_was_brought_is_listed_read_and_seen_by_tools_whoever_is_asked(self, house: House) -> None:
        place = house.workspace("s1")
        for n in range(6):
            await place.write({f"d/{n}.txt": b"%d" % n})
        assert [file.path for file in await place.files()] == [f"d/{n}.txt" for n in range(6)]
        for n in range(6):
            assert await place.read(f"d/{n}.txt") == {f"d/{n}.txt": b"%d" % n}
            assert await read_file(house, "s1", f"d/{n}.txt") == str(n)

    async def test_one_cell_holds_a_session_s_files(self, house: House, backends: list[FakeBackend]) -> None:
        for n in range(6):
            await house.workspace("s1").write({f"{n}.txt": b""})
        assert sorted(len(backend.cells) for backend in backends) == [0, 1]

    async def test_large_files_travel_by_reference(self, house: House) -> None:
        place, large = house.workspace("s1"), bytes(3 << 20)
        await place.write({"large": large})
        assert await place.read("large") == {"large": large}

    async def test_what_is_removed_is_gone_and_what_was_not_there_is_no_error(self, house: House) -> None:
        place = house.workspace("s1")
        await place.write({"d/a": b"", "d/b": b"", "c": b""})
        assert [await place.remove("d", "nobody"), await place.remove("d")] == [2, 0]
        assert [file.path for file in await place.files()] == ["c"]

    async def test_what_is_not_there_is_told_by_its_name(self, house: House) -> None:
        await house.workspace("s1").write({"a": b""})
        with pytest.raises(NotFound, match="'b'"):
            await house.workspace("s1").read("b")

    async def test_looking_at_a_session_without_files_makes_no_cell(
        self, house: House, backends: list[FakeBackend]
    ) -> None:
        place = house.workspace("nobody")
        assert await place.files() == []
        assert await place.remove("a") == 0
        with pytest.raises(NotFound, match="nobody"):
            await place.read("a")
        with pytest.raises(NotFound, match="nobody"):
            await place.snapshot()
        assert [backend.cells for backend in backends] == [[], []]

    @pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a//b", "a/../../b", "a\\b", "a\0b", "."])
    async def test_a_path_that_is_none_inside_is_refused_before_anybody_is_asked(
        self, house: House, backends: list[FakeBackend], path: str
    ) -> None:
        with pytest.raises(BodyInvalid):
            await house.workspace("s1").write({path: b""})
        assert [backend.cells for backend in backends] == [[], []]


class TestSnapshots:
    async def test_a_session_moves_to_another_executor_with_its_files(self, nats_url: str) -> None:
        async with client.open(BusSettings(url=nats_url)) as house:
            place = house.workspace("s1")
            async with executor(nats_url):
                await place.write({"a.txt": b"one", "d/large": bytes(100_000)})
                taken = await place.snapshot()
            assert (taken.files, taken.size_bytes) == (2, 100_003)
            async with executor(nats_url) as other:
                assert await place.files() == []
                filled = await place.restore(taken.archive)
                assert (filled.files, filled.size_bytes) == (2, 100_003)
                assert await place.read("a.txt", "d/large") == {"a.txt": b"one", "d/large": bytes(100_000)}
                assert await read_file(house, "s1", "a.txt") == "one"
                assert len(other.cells) == 1

    async def test_what_was_there_before_a_restore_is_gone(self, house: House) -> None:
        place = house.workspace("s1")
        await place.write({"a": b"1"})
        taken = await place.snapshot()
        await place.write({"b": b"2"})
        await place.restore(taken.archive)
        assert [file.path for file in await place.files()] == ["a"]

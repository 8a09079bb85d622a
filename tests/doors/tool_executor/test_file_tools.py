"""What the tools for files come to, behind the door and in front of the cells."""

import base64

import pytest

from natscope.contracts import tool
from natscope.contracts.blocks import Base64Source, ImageBlock, ToolUseBlock, URLSource, text_of
from natscope.contracts.errors import ArgumentsInvalid
from tests.doors.tool_executor.house import House

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


async def house_with(**files: bytes) -> House:
    """Return a house whose session `s1` has these files; `_` in a name stands for a dot."""
    house = House()
    await house.use("write_file", path="seed", content="")
    (cell,) = house.backend.cells
    cell.files.clear()
    cell.files.update({name.replace("_", "."): data for name, data in files.items()})
    return house


class TestReading:
    async def test_lines_come_with_their_numbers(self) -> None:
        house = await house_with(a_txt=b"one\ntwo\n")
        assert text_of((await house.use("read_file", path="a.txt")).output) == "1\tone\n2\ttwo"

    async def test_a_part_says_where_to_go_on(self) -> None:
        house = await house_with(a_txt=b"".join(b"line %d\n" % n for n in range(1, 11)))
        text = text_of((await house.use("read_file", path="a.txt", offset=3, limit=2, line_numbers=False)).output)
        assert text == "line 3\nline 4\n[lines 3 to 4 of 10; go on with offset=5]"

    async def test_what_is_over_the_output_limit_is_told_and_not_shown(self) -> None:
        house = await house_with(a_txt=b"x" * 1000 + b"\n" + b"y\n" * 100_000)
        text = text_of((await house.use("read_file", path="a.txt", limit=100_000, line_numbers=False)).output)
        assert len(text) < 70_000
        assert "go on with offset=" in text

    async def test_a_line_without_end_is_cut(self) -> None:
        house = await house_with(a_txt=b"x" * 5000)
        text = text_of((await house.use("read_file", path="a.txt")).output)
        assert text.endswith("[… 3000 more]")

    async def test_a_picture_is_shown_as_one(self) -> None:
        house = await house_with(a_png=PNG)
        (block,) = (await house.use("read_file", path="a.png")).output
        assert isinstance(block, ImageBlock)
        assert isinstance(block.source, Base64Source)
        assert base64.b64decode(block.source.data) == PNG

    async def test_a_large_picture_goes_by_reference(self) -> None:
        house = await house_with(a_png=PNG + bytes(100_000))
        (block,) = (await house.use("read_file", path="a.png")).output
        assert isinstance(block, ImageBlock)
        assert isinstance(block.source, URLSource)

    async def test_what_only_says_that_it_is_a_picture_is_none(self) -> None:
        house = await house_with(a_png=b"\xff\x00not a picture")
        result = await house.use("read_file", path="a.png")
        assert (result.state, result.metadata["code"]) == ("error", "not_text")

    @pytest.mark.parametrize("path", ["/workspace/a.txt", "./a.txt", "a.txt"])
    async def test_the_names_that_programs_use_lead_there_too(self, path: str) -> None:
        house = await house_with(a_txt=b"one")
        assert text_of((await house.use("read_file", path=path)).output) == "1\tone"

    async def test_what_is_not_there_is_a_result_that_says_so(self) -> None:
        house = await house_with()
        result = await house.use("read_file", path="a.txt")
        assert (result.state, result.metadata["code"]) == ("error", "not_found")


class TestWriting:
    async def test_a_file_is_written_into_the_session_s_workspace(self) -> None:
        house = await house_with()
        result = await house.use("write_file", path="d/a.txt", content="é")
        assert house.backend.cells[0].files == {"d/a.txt": "é".encode()}
        assert result.metadata["size_bytes"] == 2

    async def test_a_path_that_leads_out_is_refused_by_the_cell(self) -> None:
        house = await house_with()
        result = await house.use("write_file", path="../a.txt", content="x")
        assert (result.state, result.metadata["code"]) == ("error", "bad_path")

    async def test_an_edit_replaces_what_is_there_once(self) -> None:
        house = await house_with(a_txt=b"one two")
        await house.use("edit_file", path="a.txt", old_string="two", new_string="2")
        assert house.backend.cells[0].files["a.txt"] == b"one 2"

    async def test_an_edit_of_what_is_there_twice_changes_nothing(self) -> None:
        house = await house_with(a_txt=b"a a")
        result = await house.use("edit_file", path="a.txt", old_string="a", new_string="b")
        assert (result.state, result.metadata["code"]) == ("error", "not_unique")
        assert house.backend.cells[0].files["a.txt"] == b"a a"
        again = await house.use("edit_file", path="a.txt", old_string="a", new_string="b", replace_all=True)
        assert (again.metadata["replaced"], house.backend.cells[0].files["a.txt"]) == (2, b"b b")


class TestSearching:
    async def test_files_are_listed_with_their_sizes(self) -> None:
        house = await house_with(a_txt=b"one", b_txt=b"")
        assert text_of((await house.use("list_files")).output).split() == ["3", "a.txt", "0", "b.txt"]

    async def test_lines_are_found_with_file_and_number(self) -> None:
        house = await house_with(a_py=b"x\nneedle\n", b_txt=b"needle\n")
        assert text_of((await house.use("grep", pattern="need", glob="*.py")).output) == "a.py:2:needle"

    async def test_files_and_counts_are_told_if_asked_for(self) -> None:
        house = await house_with(a_py=b"n\nn\n")
        assert text_of((await house.use("grep", pattern="n", output="counts")).output) == "a.py: 2"
        assert text_of((await house.use("grep", pattern="N", output="files", ignore_case=True)).output) == "a.py"

    async def test_nothing_found_is_said(self) -> None:
        house = await house_with()
        assert text_of((await house.use("glob", pattern="*.csv")).output) == "[nothing found]"

    async def test_more_than_was_asked_for_is_said(self) -> None:
        house = await house_with(a_txt=b"", b_txt=b"", c_txt=b"")
        assert "more than these 2" in text_of((await house.use("glob", pattern="*.txt", limit=2)).output)


class TestCells:
    async def test_the_tools_of_one_session_share_a_cell(self) -> None:
        house = House()
        await house.use("write_file", path="a.txt", content="x")
        await house.use("read_file", path="a.txt")
        await house.python("one")
        assert len(house.backend.cells) == 1

    async def test_a_call_with_a_cell_of_its_own_leaves_the_session_s_alone(self) -> None:
        house = House()
        await house.use("write_file", path="a.txt", content="x")
        called = await house.python("one", cell="one_shot")
        assert called.result.metadata["new_workspace"] is True
        assert await house.backend.cells[1].gone()
        assert not house.backend.cells[0].closed
        assert house.elsewhere.asked[-1].call.name == "write_file"

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("read_file", {"path": "a", "offset": 0}),
            ("read_file", {"path": 3}),
            ("write_file", {"path": "a"}),
            ("edit_file", {"path": "a", "old_string": "", "new_string": "b"}),
            ("grep", {"pattern": "a", "output": "colours"}),
            ("glob", {"pattern": "a", "head_limit": 3}),
            ("list_files", {"limit": "many"}),
        ],
    )
    async def test_wrong_arguments_cause_no_cell_and_are_told_with_what_was_expected(
        self, name: str, arguments: dict[str, object]
    ) -> None:
        house = House()
        with pytest.raises(ArgumentsInvalid, match="expected an object with") as caught:
            await house.use(name, session="s1", **arguments)
        assert caught.value.details["expected"] == house.toolbox.named(name).spec.parameters
        assert house.backend.cells == []


class TestLimits:
    async def test_every_limit_of_a_call_holds_within_the_house_s_ceiling(self) -> None:
        house = House()
        small = tool.Limits(cpu_s=1, processes=2, open_files=16, disk_bytes=4096, files=3, memory_bytes=16 << 20)
        await house.python("one", limits=small)
        huge = tool.Limits(cpu_s=3600, processes=10**6, open_files=10**6, disk_bytes=1 << 40, files=10**6)
        await house.python("two", limits=huge)
        (_, first), (_, second) = house.backend.cells[0].runs
        assert (first.cpu_s, first.processes, first.open_files, first.disk_bytes, first.files) == (1, 2, 16, 4096, 3)
        assert (second.cpu_s, second.processes, second.open_files) == (300, 128, 256)
        assert (second.disk_bytes, second.files, second.memory_bytes) == (64 << 20, 4096, None)

    async def test_a_call_without_limits_has_what_its_cell_has(self) -> None:
        house = House()
        call = ToolUseBlock(id="c", name="execute_python", input={"code": "one"})
        await house.calls.carry_out(tool.Call(call_id="x", call=call, session="s1"))
        ((_, used),) = house.backend.cells[0].runs
        assert (used.cpu_s, used.processes, used.files, used.disk_bytes, used.open_files) == (None,) * 5

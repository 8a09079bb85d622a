"""A list of runs on screens of any width."""

import io

import pytest
from rich.console import Console

from natscope.cli.listing import runs_table

ID = "0123456789abcdef" * 2
ROW = [ID, "assistant", "completed", "11-21 02:15:45", "12.34", "12,345", "678", "The answer is a long one. " * 4]


def drawn(width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(runs_table([ROW, ROW], width=width), crop=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


class TestRuns:
    @pytest.mark.parametrize("width", [20, 32, 40, 50, 60, 80, 100, 120, 400])
    def test_an_id_is_whole_on_every_screen_and_no_row_is_broken(self, width: int) -> None:
        lines = drawn(width)
        assert [line.split()[0] for line in lines] == ["task", ID, ID]
        assert max(map(len, lines)) <= max(width, len(ID))

    def test_a_narrow_screen_keeps_the_state_and_some_of_the_answer(self) -> None:
        assert drawn(80)[0].split() == ["task", "agent", "state", "seconds", "answer"]

    def test_a_wide_one_keeps_all(self) -> None:
        assert ROW[-1].strip() in drawn(400)[1]

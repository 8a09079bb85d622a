"""A session's list of tasks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tool_executor.tools.task_board import Board, TaskRefused


def board_of(*subjects: str) -> Board:
    board = Board()
    for subject in subjects:
        board, _ = board.created({"subject": subject})
    return board


def wait(board: Board, id: str, *firsts: str) -> Board:
    return board.updated(id, {}, add_blocks=(), add_blocked_by=firsts)


class TestBoard:
    def test_tasks_are_numbered_and_no_number_is_given_twice(self) -> None:
        board, task = board_of("a", "b").deleted("2").created({"subject": "c"})
        assert task.id == "3"
        assert list(board.tasks) == ["1", "3"]

    def test_both_sides_of_a_dependency_tell_of_it(self) -> None:
        board = board_of("a", "b").updated("1", {}, add_blocks=["2"], add_blocked_by=())
        assert (board.blocks("1"), board.task("2").blocked_by, board.waits_for("2")) == (("2",), ("1",), ("1",))

    def test_what_is_completed_is_waited_for_no_longer(self) -> None:
        board = wait(board_of("a", "b"), "2", "1").updated(
            "1", {"status": "completed"}, add_blocks=(), add_blocked_by=()
        )
        assert board.waits_for("2") == ()

    def test_what_is_deleted_is_waited_for_no_longer(self) -> None:
        assert wait(board_of("a", "b"), "2", "1").deleted("1").task("2").blocked_by == ()

    @pytest.mark.parametrize("first", ["1", "2", "3"])
    def test_tasks_that_would_wait_for_one_another_are_refused(self, first: str) -> None:
        board = wait(wait(board_of("a", "b", "c"), "2", "1"), "3", "2")
        with pytest.raises(TaskRefused, match="wait for one another"):
            wait(board, first, "3")

    def test_a_task_that_is_not_there_is_refused_with_those_that_are(self) -> None:
        with pytest.raises(TaskRefused, match="'9'; there are: 1"):
            wait(board_of("a"), "1", "9")

    @given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=30))
    def test_whatever_is_asked_some_task_can_always_be_done(self, wishes: list[tuple[int, int]]) -> None:
        board = board_of(*"abcde")
        for waiting, first in wishes:
            try:
                board = wait(board, str(waiting), str(first))
            except TaskRefused:
                continue
        for _ in range(5):
            ready = next(
                task.id for task in board.tasks.values() if task.status == "pending" and not board.waits_for(task.id)
            )
            board = board.updated(ready, {"status": "completed"}, add_blocks=(), add_blocked_by=())
        assert all(task.status == "completed" for task in board.tasks.values())

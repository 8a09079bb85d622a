"""Shares, purely: tasks that run at the same time may spend together what their run has left, and no more."""

from typing import Any

import pytest

from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.model import Usage
from natscope.contracts.run import JournalEntry, Parked
from services.agent.actions import AskModel
from services.agent.loop import decide, replay, waiting_of
from tests.unit.agent.test_planning import AT, made, names, over, parked, started

SPENT = 1
"""What the planning reply costs."""


def limited(tokens: int | None = 101, **more: Any) -> JournalEntry:
    return started(limits={"tokens": tokens, **more})


def shares(entries: list[JournalEntry]) -> dict[str, int | None]:
    """Return what each step may spend that the run waits for or begins."""
    return {str(each.call.input["step"]): each.tokens for each in waiting_of(replay(entries))}


def spent(tokens: int) -> Usage:
    return Usage(input_tokens=tokens)


class TestShares:
    def test_are_equal_and_no_more_than_is_left(self) -> None:
        assert shares([limited(), made(1, {"a": [], "b": [], "c": ["a"]})]) == {"a": 50, "b": 50}

    def test_are_all_that_is_left_for_one_alone(self) -> None:
        assert shares([limited(), made(1, {"a": [], "b": ["a"]})]) == {"a": 100}

    def test_are_of_money_too(self) -> None:
        entries = [limited(None, usd=3.0), made(1, {"a": [], "b": []}, cost_usd=1.0)]
        assert [each.usd for each in waiting_of(replay(entries))] == [1.0, 1.0]

    def test_are_none_where_nothing_is_limited(self) -> None:
        assert shares([started(), made(1, {"a": [], "b": []})]) == {"a": None, "b": None}

    def test_stay_what_they_were_while_others_end(self) -> None:
        entries: list[JournalEntry] = [limited(), made(1, {"a": [], "b": [], "c": []})]
        entries += [parked(entries), over("a", usage=spent(1))]
        assert shares(entries) == {"b": 33, "c": 33}


class TestAStepThatComesLater:
    DIAMOND: tuple[JournalEntry, ...] = (limited(), made(1, {"a": [], "b": [], "c": ["a"], "d": ["b", "c"]}))

    def under_way(self, used: int) -> list[JournalEntry]:
        """Return a journal in which `a` has ended, and `b` is under way."""
        entries = list(self.DIAMOND)
        return [*entries, parked(entries), over("a", usage=spent(used))]

    def test_has_what_the_one_before_has_left(self) -> None:
        assert shares(self.under_way(10)) == {"b": 50, "c": 40}

    def test_waits_where_next_to_nothing_is_left_beside_those_that_are_under_way(self) -> None:
        assert shares(self.under_way(45)) == {"b": 50}

    def test_begins_with_what_they_leave_when_they_have_ended(self) -> None:
        entries = self.under_way(45)
        entries += [parked(entries), over("b", usage=spent(5))]
        assert shares(entries) == {"c": 50}

    def test_does_not_begin_when_they_have_left_nothing(self) -> None:
        entries = self.under_way(50)
        entries += [parked(entries), over("b", usage=spent(50))]
        assert (names(entries), decide(replay(entries))) == ([], AskModel(2, "tokens"))

    @pytest.mark.parametrize("used", [0, 10, 25, 45, 50])
    def test_is_never_promised_what_is_promised_already(self, used: int) -> None:
        assert sum(each or 0 for each in shares(self.under_way(used)).values()) + used + SPENT <= 101


class TestAJournalOfBefore:
    def test_has_promised_nothing(self) -> None:
        entries: list[JournalEntry] = [limited(), made(1, {"a": [], "b": [], "c": ["a"]})]
        waiting = [each.model_copy(update={"tokens": None}) for each in waiting_of(replay(entries))]
        entries += [Parked(at=AT, step=1, waiting=waiting), over("a", usage=spent(20))]
        assert shares(entries) == {"b": None, "c": 80}


def test_a_share_is_written_where_the_run_waits() -> None:
    call = ToolUseBlock(id="t-t1-0-0", name="step", input={"step": "a"})
    kept = Waiting(call_id="t-t1-0-0", call=call, kind="task", task="t-t1-0-0", tokens=100)
    assert parked([limited(), made(1, {"a": []})]).waiting == [kept]

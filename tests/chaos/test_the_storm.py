"""A short storm in which everything is killed once, and the judge's own control: what is doctored is found out."""

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import pytest

from services.tool_executor.bubblewrap_cells import find_program
from tests.chaos import judge, story
from tests.chaos.facts import Facts
from tests.chaos.house import CUSTOMER, SERVER
from tests.chaos.storm import Plan, storm

T = TypeVar("T")
PARTS = 8
RUNS = 6


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Facts, list[str]]:
    """What happened in a storm, and what it left on the machine; without bubblewrap its cells are Docker's."""
    plan = Plan(runs=RUNS, backend=_backend(), at_once=4, seed=7, every_s=(0.3, 1.0), kills=PARTS, ack_wait_s=5)
    return asyncio.run(storm(plan, tmp_path_factory.mktemp("storm")))


@pytest.mark.timeout(900)
class TestTheStorm:
    def test_kills_every_part(self, survived: tuple[Facts, list[str]]) -> None:
        killed = [name for name, _ in survived[0].kills]
        assert (len(killed), len(set(killed)), {SERVER, CUSTOMER} <= set(killed)) == (PARTS, PARTS, True)

    def test_breaks_no_promise_and_leaves_nothing(self, survived: tuple[Facts, list[str]]) -> None:
        facts, left = survived
        print(judge.table(facts, seconds=0))
        assert (judge.broken(facts), left) == ([], [])

    def test_is_judged_by_who_finds_what_is_lost_doubled_or_stuck(self, survived: tuple[Facts, list[str]]) -> None:
        facts, _ = survived
        task = story.task_of(1)
        outcomes, journals = dict(facts.outcomes), dict(facts.journals)
        lost = replace(facts, outcomes=_without(outcomes, task), journals=_without(journals, task))
        assert f"{task}: lost: {{}}" in judge.broken(lost)
        doubled = replace(facts, outcomes=outcomes | {task: [*outcomes[task], *outcomes[task]]})
        assert f"{task}: 2 outcomes" in judge.broken(doubled)
        stuck = replace(facts, outcomes=_without(outcomes, task))
        assert any(each.startswith(f"{task}: stuck") for each in judge.broken(stuck))

    def test_is_judged_by_who_finds_what_was_done_or_paid_twice(self, survived: tuple[Facts, list[str]]) -> None:
        facts, _ = survived
        programs = [f"{agent}-{number}" for agent in (story.LEAD, story.AIDE) for number in range(RUNS)]
        acted = replace(facts, counted=dict.fromkeys(programs, 2))
        assert len(judge.broken(acted)) == len(programs)
        booked = replace(facts, booked={mark: 2 for mark in facts.booked})
        assert len(judge.broken(booked)) == sum(mark.startswith(f"{story.BOOK}-") for mark in facts.booked)
        paid = replace(facts, asked={call: [1.0, 2.0] for call in facts.asked})
        assert len(judge.broken(paid)) == len(facts.asked)

    def test_is_judged_by_who_finds_a_gap_in_what_was_heard(self, survived: tuple[Facts, list[str]]) -> None:
        facts, _ = survived
        task = story.task_of(2)
        gap = replace(facts, heard={**facts.heard, task: [*facts.heard[task][:2], *facts.heard[task][3:]]})
        assert len(judge.broken(gap)) == 1


def _backend() -> str:
    if find_program() is not None:
        return "bubblewrap"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("there is neither bubblewrap nor a Docker engine")
    return "docker"


def _without(found: Mapping[str, T], task: str) -> dict[str, T]:
    return {name: value for name, value in found.items() if name != task}

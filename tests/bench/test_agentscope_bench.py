"""The bench beside AgentScope itself: that it runs, not how fast; AgentScope is left out."""

import pytest

from tests.bench.short import LIMIT_S, told_by


@pytest.mark.bench
@pytest.mark.timeout(LIMIT_S)
class TestTheBench:
    def test_tells_the_figures_of_the_house(self) -> None:
        told = _told("--only", "runs", "--alone", "--levels", "1,4")
        for level in (1, 4):
            assert f"| natscope | {level} |" in told

    def test_tells_what_parked_runs_hold_and_what_slow_sessions_do_to_others(self) -> None:
        told = _told("--only", "parked,neighbours", "--parked", "5")
        assert "5 parked runs hold " in told
        assert "5 of 5 completed once they were approved" in told
        assert "p99 of sessions beside one with a line of slow tasks: " in told


def _told(*options: str) -> str:
    return told_by("tests.bench.agentscope", "--rounds", "1", "--seconds", "0.2", *options)

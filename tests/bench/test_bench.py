"""The bench itself: that it runs, not how fast."""

import pytest

from tests.bench.short import LIMIT_S, told_by


@pytest.mark.bench
@pytest.mark.timeout(LIMIT_S)
class TestTheBench:
    def test_tells_the_figures_of_each_contender(self) -> None:
        told = told_by("tests.bench", "--rounds", "1", "--seconds", "0.2", "--levels", "1,4")
        for contender in ("by hand", "embedded", "embedded, no telemetry", "a process each"):
            for level in (1, 4):
                assert f"| {contender} | {level} |" in told
            assert f"memory of '{contender}':" in told

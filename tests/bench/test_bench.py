"""The bench itself: that it runs, not how fast."""

import subprocess
import sys

import pytest


@pytest.mark.bench
class TestTheBench:
    def test_tells_the_figures_of_each_contender(self) -> None:
        told = subprocess.run(
            [sys.executable, "-m", "tests.bench", "--rounds", "1", "--seconds", "0.2", "--levels", "1,4"],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        for contender in ("by hand", "embedded", "embedded, no telemetry", "a process each"):
            for level in (1, 4):
                assert f"| {contender} | {level} |" in told.stdout
            assert f"memory of '{contender}':" in told.stdout

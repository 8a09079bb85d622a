"""The bench beside AgentScope itself: that it runs, not how fast; AgentScope is left out."""

import subprocess
import sys

import pytest


@pytest.mark.bench
class TestTheBench:
    def test_tells_the_figures_of_the_house(self) -> None:
        command = [sys.executable, "-m", "tests.bench.agentscope", "--alone", "--rounds", "1", "--seconds", "0.2"]
        told = subprocess.run([*command, "--levels", "1,4"], capture_output=True, text=True, timeout=110, check=False)
        assert told.returncode == 0, told.stderr
        for level in (1, 4):
            assert f"| natscope | {level} |" in told.stdout

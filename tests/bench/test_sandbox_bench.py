"""The bench of the sandbox itself: that it runs and all programs come out right, not how fast."""

import subprocess
import sys

import pytest


@pytest.mark.bench
@pytest.mark.docker
class TestTheBench:
    def test_tells_the_figures_of_each_kind_of_work(self) -> None:
        images = subprocess.run(
            ["docker", "images", "-q", "natscope-sandbox:dev"], capture_output=True, text=True, check=False
        )
        if not images.stdout.strip():
            pytest.skip("no engine answers, or it has no image natscope-sandbox:dev (make sandbox-image)")
        command = [sys.executable, "-m", "tests.bench.sandbox", "--alone", "--rounds", "1", "--times", "10"]
        told = subprocess.run([*command, "--seconds", "1"], capture_output=True, text=True, timeout=110, check=False)
        assert told.returncode == 0, told.stderr
        assert "| fresh process, one at a time | natscope |" in told.stdout
        for line in told.stdout.splitlines()[2:]:
            right, _, asked = line.split("|")[6].strip().partition("/")
            assert right == asked, told.stdout

"""The bench of the sandbox itself: that it runs and all programs come out right, not how fast."""

import subprocess

import pytest

from tests.bench.short import LIMIT_S, told_by


@pytest.mark.bench
@pytest.mark.docker
@pytest.mark.timeout(LIMIT_S)
class TestTheBench:
    def test_tells_the_figures_of_each_kind_of_work(self) -> None:
        images = subprocess.run(
            ["docker", "images", "-q", "natscope-sandbox:dev"], capture_output=True, text=True, check=False
        )
        if not images.stdout.strip():
            pytest.skip("no engine answers, or it has no image natscope-sandbox:dev (make sandbox-image)")
        told = told_by("tests.bench.sandbox", "--alone", "--rounds", "1", "--times", "10", "--seconds", "1")
        assert "| fresh process, one at a time | natscope |" in told
        for line in told.splitlines()[2:]:
            right, _, asked = line.split("|")[6].strip().partition("/")
            assert right == asked, told

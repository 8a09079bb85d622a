"""The bench itself: that it runs, not how fast."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.bench
class TestTheBench:
    def test_tells_the_figures_of_each_contender_and_of_repair(self, tmp_path: Path) -> None:
        cases = tmp_path / "cases.jsonl"
        rows = [
            {"class": "comma", "damaged": '{"a": 1,}', "truth": {"a": 1}},
            {"class": "cut60", "damaged": '{"a": "b', "truth": {"a": "bc"}},
        ]
        cases.write_text("\n".join(map(json.dumps, rows)))
        short = ["--rounds", "1", "--seconds", "0.2", "--works", "unary:1,stream:4", "--cases", str(cases)]
        told = subprocess.run(
            [sys.executable, "-m", "tests.bench.gateway", *short],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        for contender in ("openai", "bare aiohttp", "gateway"):
            for work, concurrency in (("unary", 1), ("stream", 4)):
                assert f"| {work} | {concurrency} | {contender} |" in told.stdout
        for line in ("memory of the gateway:", "import of services", "| comma | 1 | 100.00% | 0 |"):
            assert line in told.stdout
        assert "| cut60 | 1 | 100.00% | 1 |" in told.stdout

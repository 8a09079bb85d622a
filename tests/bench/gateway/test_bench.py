"""The bench itself: that it runs, not how fast."""

import json
from pathlib import Path

import pytest

from tests.bench.short import LIMIT_S, told_by


@pytest.mark.bench
@pytest.mark.timeout(LIMIT_S)
class TestTheBench:
    def test_tells_the_figures_of_each_contender_and_of_repair(self, tmp_path: Path) -> None:
        cases = tmp_path / "cases.jsonl"
        rows = [
            {"class": "comma", "damaged": '{"a": 1,}', "truth": {"a": 1}},
            {"class": "cut60", "damaged": '{"a": "b', "truth": {"a": "bc"}},
        ]
        cases.write_text("\n".join(map(json.dumps, rows)))
        short = ["--rounds", "1", "--seconds", "0.2", "--works", "unary:1,stream:4", "--cases", str(cases)]
        told = told_by("tests.bench.gateway", *short)
        for contender in ("openai", "bare aiohttp", "gateway"):
            for work, concurrency in (("unary", 1), ("stream", 4)):
                assert f"| {work} | {concurrency} | {contender} |" in told
        for line in ("memory of the gateway:", "import of services", "| comma | 1 | 100.00% | 0 |"):
            assert line in told
        assert "| cut60 | 1 | 100.00% | 1 |" in told

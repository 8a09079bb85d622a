"""What `make up` shows of the logs of a service that does not become healthy."""

import json
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "deploy" / "readable.py"
LOG = {
    "at": "2026-01-02T03:04:05.678+00:00",
    "level": "ERROR",
    "service": "tool-executor",
    "event": "no backend",
    "logger": "services.tool_executor.backends",
    "reason": "the engine\nrefused \x1b[2J",
    "trace_id": "0" * 32,
}


def shown(*lines: str) -> list[str]:
    """Return what comes out for `lines`, the time of day left out: it is that of the machine."""
    given = "".join(f"{line}\n" for line in lines)
    out = subprocess.run([sys.executable, SCRIPT], input=given, capture_output=True, text=True, check=True).stdout
    return [re.sub(r"\b\d\d:\d\d:\d\d\b", "TIME", line) for line in out.splitlines()]


class TestALog:
    def test_is_a_line_for_people_behind_the_name_of_its_container(self) -> None:
        line = "tool-executor_1  | " + json.dumps(LOG)
        assert shown(line) == ["tool-executor_1  | TIME error: no backend (reason: the engine refused [2J)"]
        assert shown(json.dumps(LOG)) == ["TIME error: no backend (reason: the engine refused [2J)"]

    def test_has_the_trace_of_an_exception_below_it(self) -> None:
        _, *below = shown("a | " + json.dumps({**LOG, "exception": "Traceback:\nLookupError: gone"}))
        assert below == ["    Traceback:", "    LookupError: gone"]


class TestAnotherLine:
    def test_stays_as_it_is(self) -> None:
        lines = ["nats_1 | [1] listening", "Attaching to nats_1", 'a | {"no": "log"}', "a | [1, 2]", "a | 7"]
        out = subprocess.run(
            [sys.executable, SCRIPT], input="\n".join(lines), capture_output=True, text=True, check=True
        )
        assert out.stdout.splitlines() == lines

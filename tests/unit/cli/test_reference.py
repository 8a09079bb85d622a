"""The generated pages of docs/reference/."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class TestReference:
    def test_it_is_what_the_code_says(self) -> None:
        check = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
        ended = subprocess.run(check, capture_output=True, text=True, timeout=110)
        assert (ended.returncode, ended.stderr) == (0, "")

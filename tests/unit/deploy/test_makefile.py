"""`make help` is the table of contents of the Makefile."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def targets() -> list[str]:
    """Return the targets that the Makefile declares for people."""
    return re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


class TestHelp:
    def test_lists_every_target_and_is_what_a_bare_make_does(self) -> None:
        shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert [line.split()[0] for line in shown.stdout.splitlines()] == targets()

    def test_every_target_says_what_it_does(self) -> None:
        shown = subprocess.run(
            ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert all(len(line.split(maxsplit=1)) == 2 for line in shown.stdout.splitlines())


class TestSetUp:
    def test_a_machine_without_a_fitting_python_is_told_what_to_do(self, tmp_path: Path) -> None:
        tools = tmp_path / "bin"
        tools.mkdir()
        for tool in ("sh", "dirname", "printf", "id"):
            (tools / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
        old = tools / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
        done = subprocess.run(
            [str(ROOT / "deploy" / "setup.sh"), str(tmp_path / "venv")],
            env={"PATH": str(tools)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "Python 3.11 or newer is needed" in done.stderr
        assert not (tmp_path / "venv").exists()

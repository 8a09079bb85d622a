"""`.ci/run` starts an engine only where none answers, stops only what it started, and fails when a step fails."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ENGINE = """#!/bin/sh
trap 'rm -f "$STATE/answers"; echo stopped >>"$STATE/engine.log"; exit 0' TERM
echo started >>"$STATE/engine.log"
touch "$STATE/answers"
while :; do sleep 0.05; done
"""
STUBS = {
    "docker": '#!/bin/sh\n[ -e "$STATE/answers" ]\n',
    "dockerd": ENGINE,
    "make": '#!/bin/sh\necho "$@" >>"$STATE/make.log"\n[ "$1" != "$FAILS" ]\n',
    "sudo": '#!/bin/sh\nshift\nexec "$@"\n',
    "id": "#!/bin/sh\necho 0\n",
    "docker-compose": "#!/bin/sh\n",
    **dict.fromkeys(("debootstrap", "git", "pgrep", "ps", "python3.13"), "#!/bin/sh\n"),
    "apt-get": "#!/bin/sh\nexit 1\n",
}


class Machine:
    """A checkout with nothing but the script, and stand-ins for what it calls."""

    def __init__(self, folder: Path) -> None:
        self.state, self.checkout, tools = folder / "state", folder / "checkout", folder / "tools"
        for made in (self.state, tools, self.checkout / ".ci", self.checkout / "deploy" / "offline"):
            made.mkdir(parents=True)
        shutil.copy(ROOT / ".ci" / "run", self.checkout / ".ci" / "run")
        shutil.copy(ROOT / "deploy" / "offline" / "say.sh", self.checkout / "deploy" / "offline" / "say.sh")
        for name, text in STUBS.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self._path = f"{tools}:{os.environ['PATH']}"

    def run(self, *, fails: str = "") -> subprocess.CompletedProcess[str]:
        """Run the script; `fails` names a make target that fails."""
        environment = {"PATH": self._path, "STATE": str(self.state), "FAILS": fails, "HOME": str(self.state)}
        return subprocess.run(
            [str(self.checkout / ".ci" / "run")], env=environment, capture_output=True, text=True, check=False
        )

    def log(self, name: str) -> list[str]:
        """Return what a stand-in wrote down."""
        found = self.state / f"{name}.log"
        return found.read_text().splitlines() if found.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which no engine answers yet."""
    return Machine(tmp_path)


class TestEngine:
    def test_one_that_answers_is_used_and_left_alone(self, machine: Machine) -> None:
        (machine.state / "answers").touch()
        assert machine.run().returncode == 0
        assert machine.log("engine") == []
        assert (machine.state / "answers").exists()

    def test_where_none_answers_one_is_started_and_stopped_again(self, machine: Machine) -> None:
        assert machine.run().returncode == 0
        assert machine.log("engine") == ["started", "stopped"]

    def test_it_is_stopped_after_a_failure_too(self, machine: Machine) -> None:
        assert machine.run(fails="test").returncode != 0
        assert machine.log("engine") == ["started", "stopped"]


class TestSteps:
    def test_lint_and_the_whole_suite_run_once_the_images_are_there(self, machine: Machine) -> None:
        done = machine.run()
        assert machine.log("make") == ["setup", "offline-images", "lint", "test"]
        assert "all green" in done.stdout

    @pytest.mark.parametrize("step", ["setup", "offline-images", "lint", "test"])
    def test_a_step_that_fails_ends_it(self, machine: Machine, step: str) -> None:
        (machine.state / "answers").touch()
        done = machine.run(fails=step)
        assert done.returncode != 0
        assert machine.log("make")[-1] == step
        assert "all green" not in done.stdout

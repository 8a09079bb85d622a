"""Walls that import-linter does not see: one file per SDK, and no drawers."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("shared", "services") for path in (ROOT / folder).rglob("*.py")]
DRAWERS = {"utils", "common", "helpers", "base", "manager", "core", "misc"}


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _imports(path: Path) -> set[str]:
    """Return the full names of the modules, or of what is in them, that a file imports."""
    found: set[str] = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def _knows(path: Path, sdk: str) -> bool:
    return any(f"{name}.".startswith(f"{sdk}.") for name in _imports(path))


class TestTheWalls:
    @pytest.mark.parametrize("sdk", ["openai", "anthropic", "google.genai", "docker", "wordllama", "tree_sitter"])
    def test_each_sdk_is_imported_by_exactly_one_file(self, sdk: str) -> None:
        assert len([path for path in SOURCES if _knows(path, sdk)]) == 1

    def test_no_file_is_a_drawer(self) -> None:
        assert [path for path in SOURCES if path.stem in DRAWERS] == []

    def test_every_module_says_in_one_sentence_what_it_is_for(self) -> None:
        silent = [path for path in SOURCES if path.read_text().strip() and not ast.get_docstring(_parsed(path))]
        assert silent == []

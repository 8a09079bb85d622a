"""What the documents tell people to type is what the command line takes, and their links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from natscope.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def typed() -> Iterator[tuple[str, str]]:
    """Give page and arguments of every `natscope …` that stands in a block of shell."""
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            for arguments in re.findall(r"(?:^|[\s(/])natscope ([^#\n)]+)", block):
                yield page.name, arguments.strip()


class TestCommands:
    @pytest.mark.parametrize(("page", "arguments"), sorted(set(typed())))
    def test_it_is_a_command_with_these_options(self, page: str, arguments: str) -> None:
        group = get_command(app)
        assert isinstance(group, TyperGroup)
        name, *rest = shlex.split(arguments.replace("<", "").replace(">", ""))
        group.commands[name].make_context(name, rest, resilient_parsing=False)

    def test_there_are_some(self) -> None:
        assert len(set(typed())) > 15


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_every_relative_link_leads_to_a_file_and_a_heading(self, page: Path) -> None:
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            assert file.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
                assert anchor in {_anchor(heading) for heading in headings}, target


def _anchor(heading: str) -> str:
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "-_ ")
    return kept.replace(" ", "-")

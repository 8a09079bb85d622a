"""Agents declared to be functions: what is missing is told with its field."""

from pathlib import Path

import pytest

from natscope.client.agent_files import read_file
from natscope.contracts.errors import SpecInvalid


class TestAnAgentThatIsAFunction:
    def test_names_it_as_module_and_name(self, tmp_path: Path) -> None:
        assert read_file(written(tmp_path, "strategy: custom\nfunction: desk.night:sums")).function == "desk.night:sums"

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            ("strategy: custom", "function: `strategy: custom` runs a function"),
            ("function: desk:sums", "agent.yaml:3: function: needs `strategy: custom`"),
            ("strategy: custom\nfunction: desk", "agent.yaml:4: function: "),
            ("strategy: custom\nfunction: ../desk:sums", "agent.yaml:4: function: "),
        ],
    )
    def test_is_refused_if_it_does_not(self, tmp_path: Path, more: str, says: str) -> None:
        with pytest.raises(SpecInvalid) as caught:
            read_file(written(tmp_path, more))
        assert says in str(caught.value)


def written(folder: Path, more: str) -> Path:
    file = folder / "agent.yaml"
    file.write_text(f"name: desk\nsystem_prompt: You help.\n{more}\n")
    return file

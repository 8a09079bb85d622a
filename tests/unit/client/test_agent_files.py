"""Agent files and what is said of a wrong one."""

from pathlib import Path

import pytest

from natscope.client.agent_files import read_all, read_file
from natscope.contracts.errors import SpecInvalid

GOOD = """\
name: assistant
description: Answers questions
system_prompt: You answer.
model: default
tools: [execute_python]
limits:
  max_steps: 8
  deadline: 60
"""


def written(folder: Path, text: str, name: str = "assistant.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


class TestReadFile:
    def test_a_right_file_is_an_agent(self, tmp_path: Path) -> None:
        spec = read_file(written(tmp_path, GOOD))
        assert (spec.name, spec.tools, spec.limits.max_steps) == ("assistant", ["execute_python"], 8)
        assert spec.limits.deadline.total_seconds() == 60

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ("sytem_prompt: hi\nname: a\n", r":1: sytem_prompt: .*did you mean 'system_prompt'\?"),
            (GOOD.replace("max_steps", "max_step"), r":7: limits.max_step: .*did you mean 'max_steps'\?"),
            (GOOD.replace("max_steps: 8", "max_steps: many"), r":7: limits.max_steps: .*integer"),
            (GOOD.replace("[execute_python]", "[execute_python, 'rm -rf']"), r":5: tools.1: "),
            (GOOD + "name: other\n", r":9: name: is there twice"),
            (GOOD.replace("name: assistant\n", ""), r":1: name: Field required"),
            (GOOD.replace("name: assistant", "name: Not A Token"), r":1: name: "),
            ("name: [unclosed\n", r"assistant.yaml:2: "),
            ("- a\n- b\n", r":1: an agent file is a mapping"),
            ("", r":1: an agent file is a mapping"),
            (
                GOOD + "permissions:\n  rules:\n    - {tool: a, behaviour: deny}\n    - {tool: b, patern: x}\n",
                r":12: permissions.rules.1.patern: .*did you mean 'pattern'\?",
            ),
            (GOOD + "groups:\n  web: {description: d, tool: [a]}\n", r":10: groups.web.tool: .*did you mean 'tools'\?"),
            (GOOD + "output: {json_shema: {}}\n", r":9: output.json_shema: .*did you mean 'json_schema'\?"),
            (GOOD.replace("deadline: 60", "deadline: 0"), r":8: limits.deadline: .*more than 0 seconds"),
            (GOOD.replace("deadline: 60", "deadline: P40000D"), r":8: limits.deadline: .*at most 36,500 days"),
            (GOOD + "permissions: {wait: -1}\n", r":9: permissions.wait: .*0 seconds or more"),
            (GOOD + "weather: sunny\n", r":9: weather: there is no such field; there are: name, description"),
        ],
    )
    def test_a_wrong_one_is_refused_with_line_and_field(self, tmp_path: Path, wrong: str, said: str) -> None:
        with pytest.raises(SpecInvalid, match=said):
            read_file(written(tmp_path, wrong))

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SpecInvalid, match=r"nowhere.yaml: cannot be read: No such file"):
            read_file(tmp_path / "nowhere.yaml")


class TestReadAll:
    def test_a_folder_gives_its_agents_by_file_name(self, tmp_path: Path) -> None:
        written(tmp_path, GOOD.replace("assistant", "zoe"), "a.yaml")
        written(tmp_path, GOOD.replace("assistant", "abe"), "b.yml")
        written(tmp_path, "not an agent", "README.md")
        assert [spec.name for spec in read_all(tmp_path)] == ["zoe", "abe"]

    def test_two_files_may_not_declare_the_same_agent(self, tmp_path: Path) -> None:
        written(tmp_path, GOOD, "a.yaml")
        written(tmp_path, GOOD, "b.yaml")
        with pytest.raises(SpecInvalid, match=r"declared in .*a.yaml too"):
            read_all(tmp_path)

    def test_an_empty_folder_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(SpecInvalid, match="no agent file"):
            read_all(tmp_path)

"""The task that `natscope up` suggests, and what it checks before it writes anything."""

from pathlib import Path

import pytest

from natscope.cli.upping import ANYTHING, QUESTION, task_for, up
from natscope.contracts.agent import AgentSpec
from natscope.contracts.errors import SpecInvalid


def agent(name: str, *tools: str) -> AgentSpec:
    return AgentSpec(name=name, system_prompt="You answer.", tools=list(tools))


class TestSuggestion:
    def test_it_is_for_an_agent_that_can_compute_the_assistant_before_others(self) -> None:
        known = [agent("ann"), agent("bob", "execute_python"), agent("assistant", "execute_python")]
        assert task_for(known) == f"assistant '{QUESTION}'"
        assert task_for(known[:2]) == f"bob '{QUESTION}'"

    def test_an_agent_without_tools_is_asked_something_it_can_answer(self) -> None:
        assert task_for([agent("ann")]) == f"ann '{ANYTHING}'"


class TestFiles:
    async def test_a_wrong_agent_file_is_refused_before_the_data_folder_is_made(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("name: a\nsytem_prompt: hi\n")
        with pytest.raises(SpecInvalid, match="sytem_prompt"):
            await up(tmp_path / "data", port=0, agents=tmp_path / "a.yaml")
        assert not (tmp_path / "data").exists()

"""Tools that come and go while the executor runs."""

import re
from pathlib import Path

import pytest

from natscope.contracts.errors import SpecInvalid, ToolNotFound
from natscope.contracts.tool import BUILT_IN, is_of_the_house
from services.tool_executor.tools.catalog import built_in_tools
from services.tool_executor.tools.programs import PYTHON, SHELL
from services.tool_executor.tools.toolbox import Toolbox


class TestToolbox:
    def test_a_tool_is_found_by_its_name_for_as_long_as_it_is_there(self) -> None:
        toolbox = Toolbox([PYTHON])
        assert toolbox.named("execute_python") is PYTHON
        toolbox.remove("execute_python")
        with pytest.raises(ToolNotFound, match="execute_python"):
            toolbox.named("execute_python")

    def test_a_name_that_is_taken_is_refused_and_nothing_of_that_step_is_done(self) -> None:
        toolbox = Toolbox([PYTHON])
        with pytest.raises(SpecInvalid, match="execute_python"):
            toolbox.add(SHELL, PYTHON)
        assert [spec.name for spec in toolbox.specs] == ["execute_python"]

    def test_a_tool_may_take_the_name_of_one_that_goes_in_the_same_step(self) -> None:
        toolbox = Toolbox([PYTHON])
        toolbox.replace(["execute_python"], [SHELL, PYTHON])
        assert [spec.name for spec in toolbox.specs] == ["execute_shell", "execute_python"]

    def test_followers_hear_of_every_change_and_of_nothing_else(self) -> None:
        toolbox, heard = Toolbox([PYTHON]), list[str]()
        toolbox.follow(lambda: heard.append("change"))
        toolbox.remove("nobody")
        assert heard == []
        toolbox.add(SHELL)
        toolbox.remove("execute_shell")
        assert heard == ["change", "change"]


class TestNamesOfTheHouse:
    def test_are_those_that_the_executor_serves_and_that_no_guest_may_hear(self) -> None:
        served = {each.spec.name for each in built_in_tools()} | {"fetch_url", "task_create", "task_get"}
        served |= {"task_list", "task_update"}
        closed = re.findall(r'"tool\.call\.(\w+)"', (Path(__file__).parents[3] / "deploy/nats.conf").read_text())
        assert served == BUILT_IN == set(closed)
        assert is_of_the_house("mcp__a__b")
        assert not is_of_the_house("my_mcp__tool")

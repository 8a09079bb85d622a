"""Functions are loaded out of their folder, and out of nowhere else."""

from pathlib import Path

import pytest

from natscope.contracts.agent import AgentSpec
from natscope.contracts.contract import new_id
from natscope.contracts.errors import SpecInvalid
from services.agent.custom.loading import Functions

SOURCE = """
import natscope

@natscope.agent
async def night(ctx, message):
    return "Good night."

def plain(): ...
"""


def spec(function: str) -> AgentSpec:
    told = {"name": "desk", "system_prompt": "", "strategy": "custom", "function": function}
    return AgentSpec.model_validate(told)


@pytest.fixture
def module(tmp_path: Path) -> str:
    """Write a module that no other test has, and return its name."""
    name = f"desk_{new_id()}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    (tmp_path / f"{name}_broken.py").write_text("1 / 0")
    return name


class TestAFunction:
    def test_is_found_by_module_and_name(self, tmp_path: Path, module: str) -> None:
        assert Functions(tmp_path).load(spec(f"{module}:night")).function.__name__ == "night"  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]

    @pytest.mark.parametrize(
        ("function", "says"),
        [
            ("MODULE:nobody", "MODULE has no 'nobody'"),
            ("MODULE:plain", "MODULE has something else as 'plain'"),
            ("MODULE_broken:night", "cannot be imported: ZeroDivisionError"),
            ("MODULE.deep:night", "there is no module 'MODULE.deep'"),
            ("there_is_none:night", "there is no module 'there_is_none'"),
            ("os:system", "there is no module 'os'"),
            ("json.decoder:JSONDecoder", "there is no module 'json'"),
        ],
    )
    def test_is_refused_with_the_field_that_names_it(
        self, tmp_path: Path, module: str, function: str, says: str
    ) -> None:
        function, says = function.replace("MODULE", module), says.replace("MODULE", module)
        with pytest.raises(SpecInvalid) as caught:
            Functions(tmp_path).load(spec(function))
        assert str(caught.value).startswith(f"agent 'desk': function: {function!r}: ")
        assert says in str(caught.value)

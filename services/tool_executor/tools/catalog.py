"""The tools that are built in."""

from services.tool_executor.tools.files import EDIT, READ, WRITE
from services.tool_executor.tools.programs import PYTHON, SHELL
from services.tool_executor.tools.searching import GLOB, GREP, LIST
from services.tool_executor.tools.toolbox import AnyTool


def built_in_tools() -> list[AnyTool]:
    """Return the tools of this executor."""
    return [PYTHON, SHELL, READ, WRITE, EDIT, LIST, GLOB, GREP]

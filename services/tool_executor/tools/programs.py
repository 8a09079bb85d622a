"""`execute_python` and `execute_shell`: foreign code in the session's cell."""

import logging
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, Field

from services.tool_executor.cells import Outcome, Program
from services.tool_executor.results import result_of
from services.tool_executor.tools.arguments import Arguments
from services.tool_executor.tools.attaching import blocks_of
from services.tool_executor.tools.built_in import built_in
from services.tool_executor.tools.port import Place, Result

log = logging.getLogger(__name__)

SOURCE_BYTES = (1 << 20) + (1 << 19)
"""A frame of the cell's line holds 2 MiB."""


def _bounded(source: str) -> str:
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > SOURCE_BYTES:
        raise ValueError(f"has {size} bytes, over the limit of {SOURCE_BYTES}")
    return source


Source = Annotated[str, Field(min_length=1), AfterValidator(_bounded)]


def _sayable(command: str) -> str:
    if "\0" in command:
        raise ValueError("has a null byte, which no command line can hold")
    return command


class PythonArguments(Arguments):
    """Arguments of `execute_python`."""

    code: Annotated[Source, Field(description="Python source. Print what you want to see.")]
    stateful: Annotated[
        bool, Field(description="Keep variables for the next stateful call, and show the value of the last expression.")
    ] = False


class ShellArguments(Arguments):
    """Arguments of `execute_shell`."""

    command: Annotated[Source, AfterValidator(_sayable), Field(description="A command line for the shell.")]


async def _python(arguments: PythonArguments, place: Place) -> Result:
    return await _run(Program("python", arguments.code, arguments.stateful), place)


async def _shell(arguments: ShellArguments, place: Place) -> Result:
    return await _run(Program("shell", arguments.command), place)


async def _run(program: Program, place: Place) -> Result:
    async with place.workspace() as workspace:
        new = workspace.runs == 0
        outcome = await workspace.cell.run(program, place.limits, place.hear)
        shown = await blocks_of(outcome.artifacts, outcome.artifacts_left_out, workspace.cell, place.media)
    _note(place, outcome)
    result = result_of(outcome, backend=place.backend, new_workspace=new)
    return replace(result, output=[*result.output, *shown])


def _note(place: Place, outcome: Outcome) -> None:
    fields = {
        "tool": place.ask.call.name,
        "session": place.ask.session,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "timed_out": outcome.timed_out,
        "out_of_memory": outcome.out_of_memory,
        "duration_ms": round(outcome.duration.total_seconds() * 1000, 1),
    }
    log.info("tool finished", extra=fields)


PYTHON = built_in(
    "execute_python",
    "Run Python in a sandbox without network and return what it prints. Each call is a fresh process in the session's"
    " workspace: files stay from call to call, variables only with `stateful`. Files written to the folder `output`,"
    " and figures, are shown.",
    PythonArguments,
    _python,
)
SHELL = built_in(
    "execute_shell",
    "Run a command line in a sandbox without network and return what it prints. Each call is a fresh shell in the"
    " session's workspace: files stay from call to call, variables and the current folder do not.",
    ShellArguments,
    _shell,
)

"""The tools that are built in: what a model is told of them, and what their arguments must be."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import ArgumentsInvalid, ToolNotFound
from services.tool_executor.cells import Program

SOURCE_BYTES = 1 << 20


def _bounded(source: str) -> str:
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > SOURCE_BYTES:
        raise ValueError(f"has {size} bytes, over the limit of {SOURCE_BYTES}")
    return source


Source = Annotated[str, Field(min_length=1), AfterValidator(_bounded)]


class Arguments(BaseModel):
    """Arguments of a tool that runs a program."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def program(self) -> Program:
        """Return what is to be run."""
        raise NotImplementedError


class PythonArguments(Arguments):
    """Arguments of `execute_python`."""

    code: Annotated[Source, Field(description="Python source. Print what you want to see.")]

    def program(self) -> Program:
        """Return the Python program."""
        return Program("python", self.code)


class ShellArguments(Arguments):
    """Arguments of `execute_shell`."""

    command: Annotated[Source, Field(description="A command line for the shell.")]

    def program(self) -> Program:
        """Return the shell program."""
        return Program("shell", self.command)


@dataclass(frozen=True)
class Tool:
    """A tool and the type of its arguments."""

    name: str
    description: str
    arguments: type[Arguments]

    @property
    def spec(self) -> tool.ToolSpec:
        """What a model is told."""
        schema: dict[str, JsonValue] = self.arguments.model_json_schema()
        schema.pop("title", None)
        schema.pop("description", None)
        return tool.ToolSpec(name=self.name, description=self.description, parameters=schema)

    def read(self, call: ToolUseBlock) -> Program:
        """Return the program that `call` asks for.

        Raises:
            ArgumentsInvalid: its arguments do not fit; the message says what was expected.
        """
        if call.failure is not None:
            raise self._misfit(call.failure.message)
        if not call.input and call.raw_input.strip() not in ("", "{}"):
            raise self._misfit(f"they are no JSON object: {call.raw_input[:200]!r}")
        try:
            return self.arguments.model_validate(call.input).program()
        except ValidationError as error:
            raise self._misfit(_explain(error)) from error

    def _misfit(self, why: str) -> ArgumentsInvalid:
        parameters = self.spec.parameters
        expected = json.dumps(parameters.get("properties"), ensure_ascii=False)
        return ArgumentsInvalid(
            f"the arguments of {self.name!r} do not fit: {why}",
            remedy=f"expected an object with {expected}",
            details={"expected": parameters},
        )


PYTHON = Tool(
    "execute_python",
    "Run Python in a sandbox without network and return what it prints. Each call is a fresh process in the session's"
    " workspace: files stay from call to call, variables do not.",
    PythonArguments,
)
SHELL = Tool(
    "execute_shell",
    "Run a command line in a sandbox without network and return what it prints. Each call is a fresh shell in the"
    " session's workspace: files stay from call to call, variables and the current folder do not.",
    ShellArguments,
)
TOOLS: Mapping[str, Tool] = {found.name: found for found in (PYTHON, SHELL)}


def tool_named(name: str) -> Tool:
    """Return the built-in tool of that name.

    Raises:
        ToolNotFound: there is none.
    """
    found = TOOLS.get(name)
    if found is None:
        raise ToolNotFound(f"there is no tool {name!r} here", remedy=f"there are {', '.join(sorted(TOOLS))}")
    return found


def _explain(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults[:3])

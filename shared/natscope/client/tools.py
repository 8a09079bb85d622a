"""A typed async function as a tool: its schema from its signature, its arguments checked, its result as blocks."""

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from natscope.bus.envelope import explain
from natscope.contracts.blocks import ContentBlock, TextBlock, ToolUseBlock
from natscope.contracts.errors import ArgumentsInvalid, SpecInvalid
from natscope.contracts.tool import ToolSpec

Function = Callable[..., Awaitable[object]]

_BLOCK = TypeAdapter[ContentBlock](ContentBlock)
_ANY = TypeAdapter[object](object)


@dataclass(frozen=True)
class Tool:
    """What a model is told of a function, and how it is called."""

    spec: ToolSpec
    function: Function
    arguments: type[BaseModel]

    def read(self, call: ToolUseBlock) -> dict[str, object]:
        """Return the arguments of a call as the function takes them.

        Raises:
            ArgumentsInvalid: they do not fit the schema; the message names the fields.
        """
        if call.failure is not None:
            raise ArgumentsInvalid(f"{self.spec.name}: {call.failure.message}")
        try:
            given = call.input or json.loads(call.raw_input or "{}")
            read = self.arguments.model_validate(given)
        except ValidationError as error:
            raise ArgumentsInvalid(f"{self.spec.name}: {explain(error)}") from error
        except ValueError as error:
            raise ArgumentsInvalid(f"{self.spec.name}: the arguments are no JSON object: {error}") from error
        return {name: getattr(read, name) for name in self.arguments.model_fields}

    async def run(self, arguments: dict[str, object]) -> list[ContentBlock]:
        """Call the function and return its result as blocks: text as it is, blocks as they are, all else as JSON."""
        return blocks_of(await self.function(**arguments))


def tool(function: Function, *, name: str | None = None, idempotent: bool = False, read_only: bool = False) -> Tool:
    """Make a tool of a typed async function; its docstring is what the model reads.

    `idempotent`: running it twice does no more than once, so that a call whose outcome was lost is run again.

    Raises:
        SpecInvalid: it is not async, or takes arguments without a type, or by position only.
    """
    called = name or getattr(function, "__name__", "")
    if not inspect.iscoroutinefunction(function):
        raise SpecInvalid(f"tool {called!r} is not an async function", remedy="write `async def`")
    arguments = _arguments(called, function)
    schema = arguments.model_json_schema()
    schema.pop("title", None)
    try:
        spec = ToolSpec(
            name=called,
            description=inspect.getdoc(function) or "",
            parameters=schema,
            idempotent=idempotent,
            read_only=read_only,
        )
    except ValidationError as error:
        raise SpecInvalid(f"tool {called!r}: {explain(error)}") from error
    return Tool(spec, function, arguments)


def _arguments(name: str, function: Function) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise SpecInvalid(f"tool {name!r}: {str(parameter)!r} cannot be named by a model")
        if parameter.name not in hints:
            raise SpecInvalid(f"tool {name!r}: argument {parameter.name!r} has no type", remedy="annotate it")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def blocks_of(result: object) -> list[ContentBlock]:
    """Return a function's result as blocks."""
    if isinstance(result, str):
        return [TextBlock(text=result)]
    items: list[object] = list(result) if isinstance(result, list | tuple) else [result]
    if items and all(isinstance(item, BaseModel) and hasattr(item, "type") for item in items):
        return [_BLOCK.validate_python(item) for item in items]
    return [TextBlock(text=_ANY.dump_json(result).decode())]

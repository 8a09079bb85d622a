"""A typed function as a tool: its schema from its signature, its arguments checked, its result as blocks."""

import asyncio
import contextlib
import functools
import inspect
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Unpack, cast, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from natscope.bus.envelope import explain
from natscope.contracts.blocks import ContentBlock, TextBlock, ToolUseBlock
from natscope.contracts.errors import ArgumentsInvalid, SpecInvalid
from natscope.contracts.tool import Call, ToolSpec

Function = Callable[..., object]
"""A function, a coroutine function, or a generator of either kind."""
Progress = Callable[[str], Awaitable[None]]
"""Tells a piece of what is going on."""
Kind = Literal["function", "coroutine", "generator", "async generator"]
Postprocess = Callable[[Call, list[ContentBlock]], list[ContentBlock]]
"""Gets a call and what its function gave, and returns what the model reads instead."""

_BLOCK = TypeAdapter[ContentBlock](ContentBlock)
_ANY = TypeAdapter[object](object)
_END = object()
_FLAGS = ("idempotent", "read_only", "concurrent", "deadline_s")


async def _unheard(_: str) -> None:
    return


@dataclass(frozen=True)
class ToolContext:
    """The call that a function carries out. A parameter of this type is filled in, and no model sees it."""

    call: Call
    progress: Progress = _unheard
    """Tells whoever listens to the task what is going on; not part of the result."""


@dataclass(frozen=True)
class Tool:
    """What a model is told of a function, and how it is called. Calling it calls the function."""

    spec: ToolSpec
    function: Function
    arguments: type[BaseModel]
    kind: Kind = "coroutine"
    preset: Mapping[str, object] = field(default_factory=dict[str, object])
    """Arguments that no model sees, because they are set already."""
    context: str | None = None
    """Name of the parameter that gets the `ToolContext`."""
    postprocess: Postprocess | None = None
    at_once: int | None = None
    """Calls that one process carries out at a time; None: as many as come."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as it is."""
        return self.function(*args, **kwargs)

    def read(self, call: ToolUseBlock) -> dict[str, object]:
        """Return the arguments of a call as the function takes them.

        Raises:
            ArgumentsInvalid: they do not fit the schema; the message names the fields, `expected` holds the schema.
        """
        if call.failure is not None:
            raise self._misfit(call.failure.message)
        try:
            given = call.input or json.loads(call.raw_input or "{}")
            read = self.arguments.model_validate(given)
        except ValidationError as error:
            raise self._misfit(explain(error)) from error
        except ValueError as error:
            raise self._misfit(f"the arguments are no JSON object: {error}") from error
        return {name: getattr(read, name) for name in self.arguments.model_fields}

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> list[ContentBlock]:
        """Call the function and return its result as blocks: text as it is, blocks as they are, all else as JSON.

        What a generator yields is told as progress when it comes, and is the result in the end, one piece after the
        other. A function that is no coroutine runs in a thread: when its call is over, by deadline or because nobody
        wants it any more, the thread goes on, and what it returns is dropped.
        """
        given = {**self.preset, **arguments}
        if self.context is not None:
            given[self.context] = context
        blocks = await self._called(given, context.progress)
        return blocks if self.postprocess is None else self.postprocess(context.call, blocks)

    async def _called(self, given: dict[str, object], progress: Progress) -> list[ContentBlock]:
        if self.kind == "function":
            return blocks_of(await asyncio.to_thread(self.function, **given))
        if self.kind == "coroutine":
            return blocks_of(await cast("Awaitable[object]", self.function(**given)))
        found = self.function(**given)
        if self.kind == "generator":
            return await _collected(_threaded(cast("Generator[object]", found)), progress)
        return await _collected(cast("AsyncGenerator[object]", found), progress)

    def _misfit(self, why: str) -> ArgumentsInvalid:
        parameters = self.spec.parameters
        return ArgumentsInvalid(
            f"{self.spec.name}: {why}",
            remedy=f"expected an object with {json.dumps(parameters.get('properties'), ensure_ascii=False)}",
            details={"expected": parameters},
        )


class ToolOptions(TypedDict, total=False):
    """What may be said of a tool besides its function."""

    name: str
    """Instead of the function's own."""
    description: str
    """Instead of the docstring."""
    preset: Mapping[str, object]
    """Arguments that are set here and that no model sees."""
    postprocess: Postprocess
    """Turns a call and what came of it into what the model reads."""
    idempotent: bool
    """Running it twice does no more than once, so that a call whose outcome was lost is run again."""
    read_only: bool
    """It changes nothing that anybody else can see."""
    concurrent: bool
    """False: two calls of one reply run one after the other."""
    deadline_s: float
    """How long a call may take that names no deadline."""
    at_once: int
    """Calls that one process carries out at a time."""


@overload
def tool(function: Function, /, **options: Unpack[ToolOptions]) -> Tool: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Function], Tool]: ...
def tool(function: Function | None = None, /, **options: Unpack[ToolOptions]) -> Tool | Callable[[Function], Tool]:
    """Make a tool of a typed function: `@tool`, `@tool(read_only=True)`, or `tool(function, name=…)`.

    The function may be a coroutine function, a plain one, or a generator of either kind. What the model reads is its
    signature and its docstring, where Google's, NumPy's or Sphinx's form describes the arguments.

    Raises:
        SpecInvalid: it takes arguments without a type, of a type that JSON cannot describe, or by position only; a
            preset argument is none of its own; there is no such option.
    """
    if function is None:
        return functools.partial(tool, **options)
    name = options.get("name") or getattr(function, "__name__", "")
    unknown = sorted(set(options) - set(ToolOptions.__annotations__))
    if unknown:
        raise SpecInvalid(
            f"tool {name!r}: there is no option {unknown[0]!r}",
            remedy=f"there are {', '.join(ToolOptions.__annotations__)}",
        )
    preset = options.get("preset", {})
    said = _said(function)
    try:
        context, arguments = _arguments(name, function, preset, said.arguments)
        schema = arguments.model_json_schema()
    except PydanticUserError as error:
        why = error.message.partition(". ")[0]
        raise SpecInvalid(f"tool {name!r}: an argument is of a type that JSON cannot describe: {why}") from error
    schema.pop("title", None)
    flags = {key: value for key, value in options.items() if key in _FLAGS}
    told = {"name": name, "description": options.get("description", said.text), "parameters": schema}
    try:
        spec = ToolSpec.model_validate(told | flags)
    except ValidationError as error:
        raise SpecInvalid(f"tool {name!r}: {explain(error)}") from error
    return Tool(
        spec,
        function,
        arguments,
        kind=_kind(function),
        preset=preset,
        context=context,
        postprocess=options.get("postprocess"),
        at_once=options.get("at_once"),
    )


def blocks_of(result: object) -> list[ContentBlock]:
    """Return a function's result as blocks."""
    if isinstance(result, str):
        return [TextBlock(text=result)]
    items: list[object] = list(result) if isinstance(result, list | tuple) else [result]
    if items and all(isinstance(item, BaseModel) and hasattr(item, "type") for item in items):
        return [_BLOCK.validate_python(item) for item in items]
    return [TextBlock(text=_ANY.dump_json(result).decode())]


@dataclass(frozen=True)
class _Said:
    """What a docstring says of the function and of its arguments."""

    text: str
    arguments: Mapping[str, str]


def _said(function: Function) -> _Said:
    written = inspect.getdoc(function) or ""
    if "\n" not in written:
        return _Said(written, {})
    # needed only where tools are made
    import docstring_parser

    parsed = docstring_parser.parse(written)
    described = {each.arg_name: each.description for each in parsed.params if each.description}
    return _Said(parsed.description or written, described) if described else _Said(written, {})


def _kind(function: Function) -> Kind:
    if inspect.isasyncgenfunction(function):
        return "async generator"
    if inspect.isgeneratorfunction(function):
        return "generator"
    return "coroutine" if inspect.iscoroutinefunction(function) else "function"


def _arguments(
    name: str, function: Function, preset: Mapping[str, object], described: Mapping[str, str]
) -> tuple[str | None, type[BaseModel]]:
    """Return the parameter that gets the context, and the type of the arguments that a model writes."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    context = None
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise SpecInvalid(f"tool {name!r}: {str(parameter)!r} cannot be named by a model")
        if parameter.name in preset:
            continue
        if parameter.name not in hints:
            raise SpecInvalid(f"tool {name!r}: argument {parameter.name!r} has no type", remedy="annotate it")
        if hints[parameter.name] is ToolContext:
            context = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        hint = hints[parameter.name]
        fields[parameter.name] = (hint, _described(default, hint, described.get(parameter.name)))
    unknown = sorted(set(preset) - set(parameters))
    if unknown:
        raise SpecInvalid(f"tool {name!r} has no argument {unknown[0]!r} to preset")
    return context, create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def _described(default: object, hint: object, description: str | None) -> object:
    """Return `default` with what the docstring says, unless the annotation says it."""
    notes = (*getattr(hint, "__metadata__", ()), default)
    said = any(isinstance(note, FieldInfo) and (note is default or note.description) for note in notes)
    return default if said or description is None else Field(cast("Any", default), description=description)


async def _threaded(pieces: Generator[object]) -> AsyncIterator[object]:
    try:
        while (piece := await asyncio.to_thread(next, pieces, _END)) is not _END:
            yield piece
    finally:
        # one that still runs in its thread cannot be closed
        with contextlib.suppress(ValueError):
            await asyncio.to_thread(pieces.close)


async def _collected(pieces: AsyncIterator[object], progress: Progress) -> list[ContentBlock]:
    found: list[ContentBlock] = []
    async for piece in pieces:
        for block in blocks_of(piece):
            if not isinstance(block, TextBlock):
                found.append(block)
                continue
            await progress(block.text)
            last = found[-1] if found else None
            if isinstance(last, TextBlock):
                found[-1] = TextBlock(text=last.text + block.text)
            else:
                found.append(block)
    return found

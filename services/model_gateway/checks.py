"""Refuses what no provider can answer, before any money is spent."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from natscope.contracts.blocks import (
    FileBlock,
    MediaBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from natscope.contracts.errors import BodyInvalid, ContextTooLong, ModalityUnsupported, SchemaInvalid
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Modality
from natscope.contracts.tool import ToolSpec
from services.model_gateway.media import is_text
from services.model_gateway.repair.fit import fit_of

CHOICES = ("auto", "none", "required")
CLEARLY = 1.1
"""An estimate must be over the window by this factor to be refused: it may be too high by some percent."""
_KEPT = 1024


def check_ask(ask: Chat) -> None:
    """Return if `ask` makes sense whatever model it is for.

    Raises:
        SchemaInvalid: a tool's parameters, or the output's schema, are no JSON Schema; tool and place are named.
        BodyInvalid: there is nothing to answer, calls and results do not match, or the tools contradict each other.
    """
    _check_content(ask.messages)
    _check_calls(ask.messages)
    if ask.tools or ask.tool_choice not in CHOICES[:2]:
        _check_tools(ask.tools, ask.tool_choice)
    if ask.output is not None and (fault := schema_fault(ask.output.json_schema)) is not None:
        raise SchemaInvalid(f"output {ask.output.name!r}: {fault}", remedy="mend `output.json_schema`")


def check_modalities(ask: Chat, *, model: str, takes: Iterable[Modality] | None) -> None:
    """Return if `model` takes every kind of media that the conversation shows it; None: nobody knows what it takes.

    Media that a tool returned is not refused: the model is told that it is there.

    Raises:
        ModalityUnsupported: it takes no such media; message and kind are named.
    """
    if takes is None:
        return
    known = frozenset(takes)
    for place, message in enumerate(ask.messages):
        for block in message.content:
            if isinstance(block, MediaBlock) and block.type not in known and _must_be_seen(block, ask):
                raise ModalityUnsupported(
                    f"model {model!r} takes no {block.type}, but {_named(place, message)} holds one"
                    f" ({block.source.media_type})",
                    remedy=f"it takes {', '.join(sorted(known))}; leave the {block.type} out, or ask another model",
                    details={"modality": block.type, "message": place},
                )


def check_size(estimate: int, *, model: str, context_size: int | None) -> None:
    """Return if a prompt of about `estimate` tokens may fit into the window.

    Raises:
        ContextTooLong: it is clearly over.
    """
    if context_size is not None and estimate > context_size * CLEARLY:
        raise ContextTooLong(
            f"the prompt is about {estimate:,} tokens, the window of model {model!r} is {context_size:,}",
            remedy="shorten the session, or ask a model with a larger window",
            details={"estimated_tokens": estimate, "context_size": context_size},
        )


def schema_fault(schema: Mapping[str, JsonValue]) -> str | None:
    """Return why a schema is none, with the place; None if it is one.

    Without `$schema` it is read as draft 2020-12. References outside of the schema are not followed.
    """
    try:
        fit_of(schema)
    except SchemaInvalid as error:
        return error.message
    return None


def _check_content(messages: list[Message]) -> None:
    if not messages:
        raise BodyInvalid("there is no message to answer", remedy="put at least one into `messages`")
    for place, message in enumerate(messages):
        blank = message.role == "user" and not any(map(_says_something, message.content))
        if blank or not message.content:
            raise BodyInvalid(f"{_named(place, message)} has no content", remedy="leave it out, or fill it")


def _says_something(block: object) -> bool:
    """Return whether any model hears of a block that a user wrote: thoughts and unknown kinds are left out."""
    if isinstance(block, TextBlock):
        return bool(block.text.strip())
    return isinstance(block, MediaBlock | ToolUseBlock | ToolResultBlock)


def _check_calls(messages: list[Message]) -> None:
    """Return if every call has one result behind it, and every result a call before it.

    Others may speak between a call and its result. Providers repeat ids, so one may be used again once it is answered.
    """
    waiting: dict[str, tuple[int, Message]] = {}
    for place, message in enumerate(messages):
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                if block.id in waiting:
                    raise BodyInvalid(f"call id {block.id!r} is used twice, again by {_named(place, message)}")
                waiting[block.id] = (place, message)
            elif isinstance(block, ToolResultBlock) and waiting.pop(block.id, None) is None:
                raise BodyInvalid(
                    f"{_named(place, message)} holds a result of call {block.id!r}, but no such call is open",
                    remedy="put each result once, behind its call",
                )
    for id, (place, message) in waiting.items():
        raise BodyInvalid(
            f"call {id!r} in {_named(place, message)} has no result",
            remedy="put a result behind it; its state may be `interrupted` or `unknown`",
        )


def _check_tools(tools: list[ToolSpec], choice: str) -> None:
    names = [tool.name for tool in tools]
    known = set(names)
    if len(known) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BodyInvalid(f"two tools are called {twice!r}", remedy="give each its own name")
    if choice == "required" and not tools:
        raise BodyInvalid("a tool call is required, but no tool is offered", remedy="offer one in `tools`")
    if choice not in CHOICES and choice not in known:
        offered = ", ".join(map(repr, names)) or "none"
        raise BodyInvalid(f"tool_choice names {choice!r}, which is not offered", remedy=f"offered are: {offered}")
    _check_parameters(to_json([tool.parameters for tool in tools]), tuple(names))


@lru_cache(maxsize=_KEPT)
def _parameters_fault(parameters: bytes) -> tuple[int, str] | None:
    """Return which of a list of schemas is wrong, and how."""
    schemas: list[dict[str, JsonValue]] = from_json(parameters)
    for place, schema in enumerate(schemas):
        fault = schema_fault(schema)
        kind = schema.get("type", "object")
        if fault is None and kind != "object" and not (isinstance(kind, list) and "object" in kind):
            fault = f"the JSON Schema is not one of arguments: at /type: they are an object, not {kind!r}"
        if fault is not None:
            return place, fault
    return None


def _check_parameters(parameters: bytes, names: tuple[str, ...]) -> None:
    found = _parameters_fault(parameters)
    if found is not None:
        place, fault = found
        raise SchemaInvalid(
            f"parameters of tool {names[place]!r}: {fault}",
            remedy=f"mend `tools[{place}].parameters`",
            details={"tool": names[place]},
        )


def _must_be_seen(block: MediaBlock, ask: Chat) -> bool:
    """Return whether the model has to see it; a file can be opened by its tools or, if it is text, be read out."""
    return not isinstance(block, FileBlock) or not (ask.tools or is_text(block.source.media_type))


def _named(place: int, message: Message) -> str:
    return f"message {place} ({message.role} {message.name!r})"

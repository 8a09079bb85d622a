"""Reading a tool's arguments: what does not fit is told with what was expected, before anything runs."""

import json
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import ArgumentsInvalid
from natscope.contracts.tool import ToolSpec

FAULTS = 3


class Arguments(BaseModel):
    """Arguments of a built-in tool: these and no others, of these types and no likes of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


def schema_of(arguments: type[Arguments]) -> dict[str, JsonValue]:
    """Return the JSON Schema that a model is shown."""
    schema: dict[str, JsonValue] = arguments.model_json_schema()
    schema.pop("title", None)
    schema.pop("description", None)
    properties = schema.get("properties")
    for shown in properties.values() if isinstance(properties, dict) else ():
        if isinstance(shown, dict):
            shown.pop("title", None)
    return schema


def given(call: ToolUseBlock, spec: ToolSpec) -> dict[str, JsonValue]:
    """Return the arguments as the model wrote them.

    Raises:
        ArgumentsInvalid: they are of no use, or no object.
    """
    if call.failure is not None:
        raise misfit(spec, call.failure.message)
    if not call.input and call.raw_input.strip() not in ("", "{}"):
        raise misfit(spec, f"they are no JSON object: {call.raw_input[:200]!r}")
    return call.input


def read_as(arguments: type[ArgumentsT], call: ToolUseBlock, spec: ToolSpec) -> ArgumentsT:
    """Return the arguments of `call`.

    Raises:
        ArgumentsInvalid: they do not fit.
    """
    try:
        return arguments.model_validate(given(call, spec))
    except ValidationError as error:
        raise misfit(spec, _explain(error)) from error


def misfit(spec: ToolSpec, why: str) -> ArgumentsInvalid:
    """Return the error that says what was expected."""
    expected = json.dumps(spec.parameters.get("properties", {}), ensure_ascii=False)
    return ArgumentsInvalid(
        f"the arguments of {spec.name!r} do not fit: {why}",
        remedy=f"expected an object with {expected}",
        details={"expected": spec.parameters},
    )


def _explain(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults[:FAULTS])

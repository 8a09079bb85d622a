"""Tells people what is wrong with a value in a file: in which field, and what may stand there."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Schema = Mapping[str, Any]
Place = tuple[int | str, ...]


ABSENT = ("missing", "union_tag_invalid", "union_tag_not_found")
"""Faults whose place ends with a name that the file need not have."""


def told(kind: type[BaseModel], fault: ErrorDetails) -> tuple[Place, str]:
    """Return the place and the words for one fault of validating a `kind`; the words never repeat the value.

    The place may still hold steps that no file has, such as the tag of a union.
    """
    place, context = fault["loc"], fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return place, _unknown(str(place[-1]), list(_fields(kind.model_json_schema(), place[:-1])))
        case "union_tag_invalid":
            field = str(context.get("discriminator", "")).strip("'")
            return (*place, field), f"is none of {str(context.get('expected_tags')).replace(chr(39), '')}"
        case "union_tag_not_found":
            field = str(context.get("discriminator", "")).strip("'")
            return (*place, field), "is missing: it says which of several things this is"
        case "model_type" if place[-1:] == ("FromEnvironment",):
            return place, "should be a text, or {env: NAME, default: text}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return place, "should be a mapping of names to values"
        case "missing":
            return place, "is missing"
        case "dialect":
            return (*place, str(context.get("field"))), fault["msg"]
        case _:
            return place, fault["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _unknown(name: str, known: list[str]) -> str:
    meant = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {meant[0]!r}? " if meant else ""
    return f"is not known ({hint}there may be {', '.join(known)})" if known else "is not known"


def _fields(schema: Schema, place: Place) -> Iterator[str]:
    """Yield the names that may stand at `place`."""
    defs: Schema = schema.get("$defs", {})
    found = [schema]
    for step in (*place, None):
        found = [each for one in found for each in _variants(one, defs)]
        if step is not None:
            found = [child for each in found if (child := _child(each, step)) is not None]
    yield from dict.fromkeys(name for each in found for name in each.get("properties", {}))


def _variants(schema: Schema, defs: Schema) -> Iterator[Schema]:
    """Yield what a schema may mean, without references; a tagged union stands for itself, its tag is the next step."""
    if "$ref" in schema:
        yield from _variants(defs[schema["$ref"].rpartition("/")[2]], defs)
    elif "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _variants(each, defs)
    else:
        yield schema


def _child(schema: Schema, step: int | str) -> Schema | None:
    if isinstance(step, int):
        return schema.get("items")
    if step in (tags := schema.get("discriminator", {}).get("mapping", {})):
        return {"$ref": tags[step]}
    if step in (named := schema.get("properties", {})):
        return named[step]
    more = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    return next((each for each in more if isinstance(each, dict)), None)

"""Whether a value fits a JSON Schema, and in words why not; a schema is compiled once."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from hashlib import blake2b

import jsonschema_rs
from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.errors import SchemaInvalid

KEPT = 1024
"""Compiled schemas."""
_TOLD = 3
"""Misfits that are told of; the rest is left out."""


class Fit:
    """One schema, compiled. It is never fetched from anywhere, and a pattern in it takes linear time."""

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        """Compile.

        Raises:
            SchemaInvalid: it is no JSON Schema, or refers to one elsewhere.
        """
        try:
            self._validator = jsonschema_rs.validator_for(
                dict(schema), offline=True, pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            why = _short(str(error).partition("\n")[0])
            place = "/".join(map(str, getattr(error, "instance_path", ())))
            raise SchemaInvalid(f"the JSON Schema is none: at /{place}: {why}") from error
        properties = schema.get("properties")
        self.properties = frozenset(properties) if isinstance(properties, dict) else frozenset[str]()
        """Names of the properties at the top, where the schema lists them."""

    def holds(self, value: JsonValue) -> bool:
        """Return whether `value` fits."""
        return self._validator.is_valid(value)

    def errors(self, value: JsonValue) -> Iterator[jsonschema_rs.ValidationError]:
        """Give each misfit."""
        return self._validator.iter_errors(value)

    def why_not(self, value: JsonValue) -> str:
        """Return in words why `value` does not fit."""
        told: list[str] = []
        for error in self.errors(value):
            if len(told) == _TOLD:
                told.append("…")
                break
            where = ".".join(map(str, error.instance_path))
            told.append(f"{where}: {_short(error.message)}" if where else _short(error.message))
        return "; ".join(told)


_compiled: OrderedDict[bytes, Fit] = OrderedDict()


def fit_of(schema: Mapping[str, JsonValue]) -> Fit:
    """Return `schema` compiled; the same schema is compiled once, as long as it is among the latest used.

    Raises:
        SchemaInvalid: it is no JSON Schema, or refers to one elsewhere.
    """
    digest = blake2b(to_json(schema), digest_size=16).digest()
    found = _compiled.get(digest)
    if found is None:
        found = _compiled[digest] = Fit(schema)
        if len(_compiled) > KEPT:
            _compiled.popitem(last=False)
    else:
        _compiled.move_to_end(digest)
    return found


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"

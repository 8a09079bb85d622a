"""Lowering a schema to what the messages API holds a model to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import JsonValue

from services.model_gateway.wires.messages_output import lowered

TEXT: dict[str, Any] = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _lowered(schema: JsonValue) -> JsonValue:
    found = lowered(_object(x=schema))
    assert found is not None
    properties = found["properties"]
    assert isinstance(properties, dict)
    return properties["x"]


class TestLowered:
    def test_an_object_has_no_more_than_its_properties(self) -> None:
        schema = {**_object(name=TEXT), "required": ["name"], "title": "Person", "$schema": "x"}
        assert lowered(schema) == {
            "type": "object",
            "properties": {"name": TEXT},
            "required": ["name"],
            "additionalProperties": False,
            "title": "Person",
        }

    @pytest.mark.parametrize(
        ("schema", "told"),
        [
            (
                {"type": "integer", "minimum": 1, "description": "A size."},
                {"type": "integer", "description": "A size.\n\n{minimum: 1}"},
            ),
            (
                {"type": "string", "format": "date", "pattern": "^2"},
                {**TEXT, "format": "date", "description": "{pattern: ^2}"},
            ),
            ({"type": "string", "format": "color"}, {**TEXT, "description": "{format: color}"}),
            ({"type": "array", "items": TEXT, "minItems": 1}, {"type": "array", "items": TEXT, "minItems": 1}),
            (
                {"type": "array", "items": TEXT, "minItems": 2},
                {"type": "array", "items": TEXT, "description": "{minItems: 2}"},
            ),
            ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
            ({"const": None}, {"const": None}),
            ({"type": ["string", "null"], "title": "T"}, {"anyOf": [TEXT, {"type": "null"}], "title": "T"}),
            ({"oneOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}),
            ({"allOf": [TEXT], "description": "d"}, {**TEXT, "description": "d"}),
        ],
    )
    def test_what_cannot_be_held_is_told(self, schema: JsonValue, told: JsonValue) -> None:
        assert _lowered(schema) == told

    def test_references_are_written_out(self) -> None:
        schema = {**_object(a={"$ref": "#/$defs/A~1b"}), "$defs": {"A/b": _object(n=TEXT)}}
        found = lowered(schema)
        assert found is not None
        assert found["properties"] == {"a": {**_object(n=TEXT), "additionalProperties": False}}
        assert "$defs" not in found

    @pytest.mark.parametrize(
        "schema",
        [
            True,
            {},
            {"type": "array"},
            {"type": "object"},
            {"type": "object", "additionalProperties": TEXT},
            {"$ref": "#"},
            {"$ref": "#/$defs/none"},
            {"$ref": "https://example.org/schema"},
            {"type": "object", "properties": {"a": TEXT}, "required": ["b"]},
            {"allOf": [_object(a=TEXT), _object(b=TEXT)]},
            {"enum": [{"a": 1}]},
            {"type": "array", "prefixItems": [TEXT]},
            {"not": TEXT},
            {"type": "text"},
        ],
    )
    def test_a_shape_that_would_change_is_not_lowered(self, schema: JsonValue) -> None:
        assert lowered(_object(x=schema)) is None

    def test_an_answer_that_is_no_object_is_not_lowered(self) -> None:
        numbers: dict[str, Any] = {"type": "array", "items": TEXT}
        assert lowered(numbers) is None

    def test_references_that_double_at_each_step_are_given_up(self) -> None:
        defs: dict[str, Any] = {
            f"d{n}": _object(a={"$ref": f"#/$defs/d{n + 1}"}, b={"$ref": f"#/$defs/d{n + 1}"}) for n in range(28)
        }
        schema: dict[str, Any] = {**_object(a={"$ref": "#/$defs/d0"}), "$defs": {**defs, "d28": TEXT}}
        assert lowered(schema) is None

    @given(
        some.dictionaries(
            some.sampled_from(["type", "properties", "items", "anyOf", "$ref", "enum", "required", "allOf", "$defs"]),
            some.recursive(
                some.none() | some.booleans() | some.sampled_from(["object", "array", "string", "#", "#/$defs/a", "a"]),
                lambda inner: (
                    some.lists(inner, max_size=3)
                    | some.dictionaries(
                        some.sampled_from(["a", "type", "properties", "items", "$ref", "anyOf"]), inner, max_size=3
                    )
                ),
                max_leaves=12,
            ),
        )
    )
    def test_whatever_it_is_given_it_answers(self, schema: dict[str, Any]) -> None:
        found = lowered(schema)
        assert found is None or found["type"] == "object"

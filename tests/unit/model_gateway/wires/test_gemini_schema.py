"""Lowering a JSON Schema to what Gemini takes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.model_gateway.wires.gemini_schema import lowered

WORDS = st.sampled_from(["type", "properties", "items", "allOf", "anyOf", "$ref", "const", "exclusiveMinimum", "x"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "allOf", "anyOf", "$ref", "const", "exclusiveMinimum", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


class TestLowered:
    @pytest.mark.parametrize(
        ("schema", "expected"),
        [
            ({"$schema": "x", "title": "T", "type": "string"}, {"type": "string"}),
            ({"const": "a"}, {"enum": ["a"]}),
            ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
            ({"type": "number", "exclusiveMaximum": 1.5}, {"type": "number", "maximum": 1.5}),
            ({"oneOf": [{"const": 1}, True]}, {"anyOf": [{"enum": [1]}, {}]}),
            ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
            ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
            (
                {"type": "string", "format": "uuid", "description": "An id.", "pattern": "^a"},
                {"type": "string", "description": "An id. (pattern: ^a; format: uuid)"},
            ),
            (
                {"$ref": "#/definitions/A", "definitions": {"A": {"title": "A", "type": "null"}}},
                {"$ref": "#/$defs/A", "$defs": {"A": {"type": "null"}}},
            ),
            (
                {
                    "allOf": [
                        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
                        {"properties": {"b": {}}, "required": ["b"]},
                    ]
                },
                {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]},
            ),
        ],
    )
    def test_says_what_it_can(self, schema: dict[str, JsonValue], expected: dict[str, Any]) -> None:
        assert lowered(schema) == expected

    @given(st.dictionaries(st.sampled_from(["type", "properties", "items", "allOf", "anyOf", "$defs", "format"]), ANY))
    def test_takes_anything(self, schema: dict[str, JsonValue]) -> None:
        assert "allOf" not in lowered(schema)

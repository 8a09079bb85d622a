"""Lowering JSON Schemas to strict mode."""

from typing import Any

import pytest

from services.model_gateway.wires.strict import lowered, strict, unwrapped

TEXT: dict[str, Any] = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


class TestStrict:
    def test_closes_every_object(self) -> None:
        told = strict(_object(a=_object(b=TEXT), c={"type": "array", "items": _object()}))
        assert told is not None
        inner, items = told["properties"]["a"], told["properties"]["c"]["items"]  # type: ignore[index,call-overload]
        assert [each["additionalProperties"] for each in (told, inner, items)] == [False] * 3  # type: ignore[index]

    def test_leaves_out_what_only_narrows_and_is_not_understood(self) -> None:
        narrow = {**TEXT, "minLength": 3, "default": "x", "format": "uri", "pattern": "^(?!x)"}
        assert strict(_object(a=narrow)) == {**_object(a=TEXT), "additionalProperties": False}

    def test_keeps_what_is_understood(self) -> None:
        kept = {**TEXT, "description": "A day.", "format": "date", "pattern": "^2", "enum": ["2026-11-21"]}
        assert strict(_object(a=kept)) == {**_object(a=kept), "additionalProperties": False}

    def test_one_of_becomes_any_of(self) -> None:
        told = strict(_object(a={"oneOf": [TEXT, {"type": "null"}]}))
        assert told is not None
        assert told["properties"] == {"a": {"anyOf": [TEXT, {"type": "null"}]}}

    def test_a_reference_stands_alone_and_its_target_is_lowered(self) -> None:
        schema = {**_object(a={"$ref": "#/$defs/A", "description": "x"}), "$defs": {"A": _object(b=TEXT)}}
        assert strict(schema) == {
            **_object(a={"$ref": "#/$defs/A"}),
            "additionalProperties": False,
            "$defs": {"A": {**_object(b=TEXT), "additionalProperties": False}},
        }

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "object"},
            {"type": "object", "properties": {"a": TEXT}},
            {**_object(a=TEXT), "additionalProperties": TEXT},
            {**_object(a=TEXT), "additionalProperties": True},
            _object(a={}),
            _object(a=True),
            _object(a={"type": "array"}),
            _object(a={"type": "array", "prefixItems": [TEXT]}),
            _object(a={"allOf": [TEXT]}),
        ],
    )
    def test_is_given_up_where_an_answer_that_fits_could_not_be_had(self, schema: dict[str, Any]) -> None:
        assert strict(schema) is None


class TestLowered:
    @pytest.mark.parametrize(
        "schema", [{"type": "array", "items": TEXT}, TEXT, {"anyOf": [TEXT]}, {"$ref": "#/$defs/A"}]
    )
    def test_what_is_no_object_is_wrapped_with_its_definitions_outside(self, schema: dict[str, Any]) -> None:
        found = lowered({**schema, "$defs": {"A": TEXT}})
        assert found.wrapped
        assert found.strict
        assert found.schema["properties"] == {"value": schema}
        assert found.schema["$defs"] == {"A": TEXT}

    @pytest.mark.parametrize(
        ("optional", "told"),
        [
            (TEXT, {"anyOf": [TEXT, {"type": "null"}]}),
            ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
            ({"anyOf": [TEXT, {"type": "integer"}]}, {"anyOf": [TEXT, {"type": "integer"}, {"type": "null"}]}),
            ({"$ref": "#/$defs/A"}, {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}),
        ],
    )
    def test_what_may_be_left_out_may_be_null_instead(self, optional: dict[str, Any], told: dict[str, Any]) -> None:
        schema = {"type": "object", "properties": {"a": TEXT, "b": optional}, "required": ["a"], "$defs": {"A": TEXT}}
        found = lowered(schema)
        assert found.strict
        assert found.schema["required"] == ["a", "b"]
        assert found.schema["properties"] == {"a": TEXT, "b": told}

    @pytest.mark.parametrize(
        ("text", "value"),
        [('{"value": {"a": 1}}', '{"a":1}'), ('{"value": "x"}', '"x"'), ('{"other": 1}', '{"other": 1}'), ("no", "no")],
    )
    def test_what_was_wrapped_is_taken_out(self, text: str, value: str) -> None:
        assert unwrapped(text) == value

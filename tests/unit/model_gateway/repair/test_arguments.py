"""Arguments that do not parse: read as they were meant, or refused."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.errors import SchemaInvalid
from services.model_gateway.repair.arguments import Unresolved, fitting, repaired, repaired_output
from tests.unit.model_gateway.repair.damage import GROUPS, PLAIN
from tests.unit.model_gateway.repair.objects import objects

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "hot": {"type": "boolean"},
        "share": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "near": {"type": "object", "properties": {"km": {"type": "integer"}}, "required": ["km"]},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["city"],
    "additionalProperties": False,
}


def read(text: str, schema: dict[str, Any] | None = None) -> object:
    """Return what is read, or the reason why nothing is."""
    try:
        return repaired(text, schema, tool="weather").value
    except Unresolved as refusal:
        return f"refused: {refusal.why}"


class TestDamage:
    @pytest.mark.parametrize("group", GROUPS)
    def test_of_each_group_is_put_right_in_99_of_100_cases(self, group: str) -> None:
        cases = [
            (text, value)
            for damage in GROUPS[group].values()
            for value in objects(seed=20, count=250)
            if (text := damage(value)) is not None
        ]
        wrong = [(text, value, read(text)) for text, value in cases if read(text) != value]
        assert len(cases) > 300
        assert len(wrong) <= len(cases) // 100, wrong[:5]

    @pytest.mark.parametrize("group", GROUPS)
    def test_is_damage_to_a_parser(self, group: str) -> None:
        for name, damage in GROUPS[group].items():
            texts = [text for value in objects(seed=21, count=40) if (text := damage(value)) is not None]
            assert any(_as_json(text) is None for text in texts), name

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ('{"city": "the "old" town", "days": 1}', {"city": 'the "old" town', "days": 1}),
            ('{"city": "print("hi")"}', {"city": 'print("hi")'}),
            ('{"city": "Doe"q", John"}', {"city": 'Doe"q", John'}),
            ("{'city': 'it's here'}", {"city": "it's here"}),
            ('{"city": """a "b" c"""}', {"city": 'a "b" c'}),
            ('{"city": "\\d+"}', {"city": "\\d+"}),
            ('city": "Rome"}', {"city": "Rome"}),
            ('call:weather{city:<|"|>the "old" town<|"|>}', {"city": 'the "old" town'}),
            ('{"near": {"km": 1}}, "city": "Rome"}', {"near": {"km": 1}, "city": "Rome"}),
            ('{"tags": ["a", "b"}', {"tags": ["a", "b"]}),
            ('{"city": "a\\ud83d\\ude00"', {"city": "a😀"}),
            ('{}{"city": "a\\n" "days": 1}', {"city": "a\n", "days": 1}),
            ('{}"city": "Rome"}', {"city": "Rome"}),
            ('```json\n"{\\"city\\": \\"Rome\\"}"\n```', {"city": "Rome"}),
            ("{“city”: “the “old”, ‘town’”, “days”: 1}", {"city": "the “old”, ‘town’", "days": 1}),
            ('{"city": "Rome :]}', {"city": "Rome :]"}),
            ("", {}),
            (" \n", {}),
        ],
    )
    def test_of_other_kinds_is_put_right_too(self, text: str, meant: object) -> None:
        assert read(text) == meant


class TestRefusing:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('{"city": "San Fran', "a string without an end"),
            ('{"city": "function f() { return {}', "a string without an end"),
            ('{"city": "Rome", ', "cut after a comma"),
            ('{"city": "Rome", "da', "a key without an end"),
            ('{"city": ', "cut before a value"),
            ('{"share": 1.', "cut in a number"),
            ('{"share": 6.02e+', "no value"),
            ('{"city": nul', "no value"),
            ('{"city": Rom', "no value"),
            ('{"city": "Rome}}', "a string without an end"),
            ('{"city": "Rome, "days": 1}', "a string without an end"),
            ('{"city": "Rome"} {"city": "Oslo"}', "2 different things"),
            ('{"city": "Rome", "days": 1} {"city": "Rome", "days": 2}', "2 different things"),
            ('{"days": NaN}', "no value of JSON"),
            ('{"days": undefined}', "no value of JSON"),
            ('{"share": 1e999}', "too large"),
            ('{"city": "\\ud800"}', "surrogate"),
            ('{"city": "\ud800"}', "surrogate"),
            ('{"plan": 1} {"city": "\\ud800"}', "something follows the object"),
            ('{"plan": 1} {"share": 1e999}', "something follows the object"),
            ('{"city": "Rome"} {"city": "Os', "something follows the object"),
            ("I cannot do that.", "no JSON object"),
            ('Take "city": "x", "near": {"km": 1}}', "lacks its beginning"),
            ("[1, 2]", "not an array"),
            ('"Rome"', "no JSON object"),
            ("null", "not null"),
            ("{" * 500, "deeper"),
        ],
    )
    @pytest.mark.parametrize("schema", [None, SCHEMA])
    def test_says_why(self, text: str, why: str, schema: dict[str, Any] | None) -> None:
        assert why in str(read(text, schema))

    @given(st.text() | st.text(alphabet="{}[]\",: \\n'“”/*#abc123.-e<|>", max_size=60), st.booleans())
    def test_is_all_that_happens_to_what_cannot_be_read(self, text: str, with_schema: bool) -> None:
        found = read(text, SCHEMA if with_schema else None)
        assert isinstance(found, str | dict)
        if with_schema and isinstance(found, dict):
            assert jsonschema_rs.is_valid(SCHEMA, found)

    @given(seed=st.integers(0, 400), place=st.floats(0, 1))
    def test_a_text_cut_anywhere_never_gives_half_a_string_or_a_key_without_its_value(
        self, seed: int, place: float
    ) -> None:
        value = {key: text for key, text in objects(seed, 1)[0].items() if isinstance(text, str)}
        whole = PLAIN.text(value)
        found = read(whole[: int(len(whole) * place)])
        assert isinstance(found, str) or found.items() <= value.items()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

    @pytest.mark.parametrize("piece", ['" /*', '" //', '", "', "'''", '\\"', "{", "[1,", "<|", "\\n", '" \n', "#"])
    def test_takes_no_longer_than_the_text_is_long(self, piece: str) -> None:
        assert isinstance(read('{"city": "' + piece * 20_000), str)

    def test_takes_the_library_s_word_only_if_it_keeps_every_word(self) -> None:
        assert read('{"city": at(Rome), "days": 1}', SCHEMA) == {"city": "at(Rome)", "days": 1}
        assert "lose or add words" in str(read('{"city": "Rome", "days": 3 + 4}', SCHEMA))

    def test_takes_the_library_s_word_only_if_it_keeps_every_string_whole(self) -> None:
        assert read('{"city": "a, b: c", "tags": [at(x)]}', SCHEMA) == {"city": "a, b: c", "tags": ["at(x)"]}
        assert "cut a string short" in str(read('{"city": "line\\n", "tags": [at(x)]}', SCHEMA))

    def test_takes_the_library_s_word_only_with_a_schema_to_hold_it_to(self) -> None:
        assert str(read('{"city": at(Rome), "days": 1}')).startswith("refused")


class TestTheSchema:
    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ('{"city": "Rome", "days": "5"}', {"city": "Rome", "days": 5}),
            ('{"city": "Rome", "days": " 5 "}', {"city": "Rome", "days": 5}),
            ('{"city": "Rome", "hot": "true", "share": "0.5"}', {"city": "Rome", "hot": True, "share": 0.5}),
            ('{"city": "Rome", "tags": "[\\"a\\"]"}', {"city": "Rome", "tags": ["a"]}),
            ('{"city": "Rome", "near": "{\\"km\\": \\"7\\"}"}', {"city": "Rome", "near": {"km": 7}}),
            ('{"city": 10115}', {"city": "10115"}),
            ('{"city": "Rome", "days": null, "limit": null}', {"city": "Rome", "limit": None}),
            ('{"city": "Rome", "limit": "3"}', {"city": "Rome", "limit": 3}),
            ('{"name": "weather", "arguments": {"city": "Rome"}}', {"city": "Rome"}),
            ('{"name": "weather", "arguments": "{\\"city\\": \\"Rome\\"}"}', {"city": "Rome"}),
            ('{"function": {"name": "weather", "arguments": {"city": "Rome"}}}', {"city": "Rome"}),
            ('[{"city": "Rome"}]', {"city": "Rome"}),
            ('{"plan": 1}{"city": "Rome"}', {"city": "Rome"}),
        ],
    )
    def test_decides_where_the_text_leaves_no_doubt(self, text: str, meant: object) -> None:
        assert read(text, SCHEMA) == meant

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('{"city": "Rome", "days": "five"}', 'days: "five" is not of type "integer"'),
            ('{"city": "Rome", "days": "5.5"}', "days"),
            ('{"city": "Rome", "days": 5.5}', "days"),
            ('{"city": "Rome", "hot": 1}', "hot"),
            ('{"city": "Rome", "hot": "yes"}', "hot"),
            ('{"city": "Rome", "tags": "a"}', "tags"),
            ('{"city": true}', "city"),
            ('{"city": null}', "city"),
            ('{"city": "Rome", "colour": "red"}', "colour"),
            ('{"town": "Rome"}', "city"),
            ("{}", "city"),
            ("", "city"),
        ],
    )
    def test_is_not_bent(self, text: str, why: str) -> None:
        assert why in str(read(text, SCHEMA))
        assert str(read(text, SCHEMA)).startswith("refused: it does not fit the schema")

    def test_may_be_of_a_tool_that_takes_a_name_and_arguments_itself(self) -> None:
        text = '{"name": "weather", "arguments": {"city": "Rome"}}'
        takes_both = {"type": "object", "properties": {"name": {}, "arguments": {"type": "object"}}}
        assert read(text, takes_both) == json.loads(text)
        assert read(text) == {"city": "Rome"}
        assert repaired(text, None, tool="other").value == json.loads(text)

    def test_that_is_none_is_said_to_be_none(self) -> None:
        with pytest.raises(SchemaInvalid, match="objekt"):
            repaired("{}", {"type": "objekt"})

    def test_is_never_fetched(self) -> None:
        with pytest.raises(SchemaInvalid, match="disabled"):
            repaired("{}", {"$ref": "http://127.0.0.1:1/schema.json"})

    @given(
        st.dictionaries(st.sampled_from([*SCHEMA["properties"], "more"]), st.sampled_from(["5", "a", 5, None, [], {}]))
    )
    def test_holds_for_whatever_is_given_back(self, value: dict[str, Any]) -> None:
        try:
            found = fitting(value, SCHEMA)
        except Unresolved:
            assert not jsonschema_rs.is_valid(SCHEMA, value)
        else:
            assert jsonschema_rs.is_valid(SCHEMA, found.value)
            assert bool(found.rules) is not jsonschema_rs.is_valid(SCHEMA, value)

    @given(st.dictionaries(st.text(max_size=9), st.none() | st.booleans() | st.integers() | st.text(), max_size=5))
    def test_sound_arguments_pass_as_they_are(self, value: dict[str, Any]) -> None:
        found = repaired(json.dumps(value), {"type": "object"})
        assert (found.value, found.rules) == (value, ())


class TestOutput:
    @pytest.mark.parametrize(
        ("text", "schema", "meant"),
        [
            ("[1, 2]", {"type": "array"}, [1, 2]),
            ("Here: [1, 2,]", {"type": "array"}, [1, 2]),
            ('```json\n{"a": 1}\n```', {"type": "object"}, {"a": 1}),
            ('"yes"', {"enum": ["yes", "no"]}, "yes"),
            ("4", {"type": "integer"}, 4),
            ('{"a": 1, "b": null}', {"properties": {"b": {"type": "string"}}}, {"a": 1}),
            ('[{"a": 1}]', {"type": "array"}, [{"a": 1}]),
            ('[{"a": 1}]', {"type": "object"}, {"a": 1}),
        ],
    )
    def test_may_be_any_json(self, text: str, schema: dict[str, Any], meant: object) -> None:
        assert repaired_output(text, schema).value == meant

    def test_that_is_one_of_several_arrays_is_the_one_that_fits(self) -> None:
        texts = {"type": "array", "items": {"type": "string"}}
        assert repaired_output('By [1] and [note], it is ["a", "}"].', texts).value == ["a", "}"]
        assert repaired_output('["a", "}"] or ["a", "}"]', texts).value == ["a", "}"]
        with pytest.raises(Unresolved, match="2 different things"):
            repaired_output("By [1], it is [42].", {"type": "array"})
        with pytest.raises(Unresolved, match="2 different things"):
            repaired_output("By [1], it is [true].", {"type": "array"})

    @pytest.mark.parametrize("text", ["", "I cannot.", '{"a": "b', "[1, 2"])
    def test_that_does_not_fit_is_refused(self, text: str) -> None:
        with pytest.raises(Unresolved):
            repaired_output(text, {"type": "object", "required": ["a"]})


def _as_json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

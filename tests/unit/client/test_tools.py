"""Typed functions as tools."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from natscope.client import tool
from natscope.contracts.blocks import TextBlock, ToolUseBlock
from natscope.contracts.errors import ArgumentsInvalid, Failure, SpecInvalid


class Place(BaseModel):
    city: str
    country: str = "DE"


async def forecast(
    place: Place,
    days: Annotated[int, Field(ge=1, le=7, description="How far ahead")] = 1,
    *,
    unit: Literal["C", "F"] = "C",
) -> dict[str, object]:
    """Say what the weather will be.

    In degrees.
    """
    return {"city": place.city, "days": days, "unit": unit}


def use(**given: object) -> ToolUseBlock:
    return ToolUseBlock.model_validate({"id": "c1", "name": "forecast", "input": given})


class TestSchema:
    def test_it_is_the_signature_and_the_docstring(self) -> None:
        spec = tool(forecast, read_only=True).spec
        assert (spec.name, spec.read_only, spec.idempotent) == ("forecast", True, False)
        assert spec.description == "Say what the weather will be.\n\nIn degrees."
        assert spec.parameters["required"] == ["place"]
        assert spec.parameters["additionalProperties"] is False
        properties = spec.parameters["properties"]
        assert isinstance(properties, dict)
        assert properties["days"] == {
            "default": 1,
            "description": "How far ahead",
            "maximum": 7,
            "minimum": 1,
            "title": "Days",
            "type": "integer",
        }

    async def test_it_may_have_another_name(self) -> None:
        assert tool(forecast, name="weather").spec.name == "weather"

    def test_what_cannot_be_a_tool_is_refused_with_its_reason(self) -> None:
        def plain(city: str) -> str:
            return city

        async def untyped(city) -> str:  # pyright: ignore[reportMissingParameterType]
            return city

        async def loose(*cities: str) -> str:
            return cities[0]

        for function, said in ((plain, "not an async"), (untyped, "'city' has no type"), (loose, "cannot be named")):
            with pytest.raises(SpecInvalid, match=said):
                tool(function)  # pyright: ignore[reportArgumentType]
        with pytest.raises(SpecInvalid, match="name: "):
            tool(forecast, name="not a name")


class TestCall:
    async def test_the_function_gets_typed_arguments_and_its_result_is_text(self) -> None:
        made = tool(forecast)
        arguments = made.read(use(place={"city": "Kiel"}, days="3"))
        assert arguments["place"] == Place(city="Kiel")
        assert await made.run(arguments) == [TextBlock(text='{"city":"Kiel","days":3,"unit":"C"}')]

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({}, "forecast: place: Field required"),
            ({"place": {"city": "Kiel"}, "days": 9}, "days: .*less than or equal to 7"),
            ({"place": {"city": "Kiel"}, "colour": "blue"}, "colour: Extra inputs are not permitted"),
        ],
    )
    def test_arguments_that_do_not_fit_are_refused_by_field(self, given: dict[str, object], said: str) -> None:
        with pytest.raises(ArgumentsInvalid, match=said):
            tool(forecast).read(use(**given))

    def test_arguments_that_are_no_json_are_refused(self) -> None:
        with pytest.raises(ArgumentsInvalid, match="no JSON object"):
            tool(forecast).read(ToolUseBlock(id="c1", name="forecast", raw_input='{"place": '))

    def test_arguments_of_a_call_that_is_marked_as_of_no_use_are_refused(self) -> None:
        failure = Failure(code="output_invalid", message="it was cut off by the token limit")
        sound = use(place={"city": "Kiel"})
        assert tool(forecast).read(sound)
        with pytest.raises(ArgumentsInvalid, match="cut off"):
            tool(forecast).read(sound.model_copy(update={"failure": failure}))

    async def test_blocks_and_text_are_kept_as_they_are(self) -> None:
        async def says(word: str) -> str:
            return word

        async def shows(word: str) -> list[TextBlock]:
            return [TextBlock(text=word), TextBlock(text="!")]

        assert await tool(says).run({"word": "hi"}) == [TextBlock(text="hi")]
        assert await tool(shows).run({"word": "hi"}) == [TextBlock(text="hi"), TextBlock(text="!")]

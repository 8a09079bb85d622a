"""Typed functions as tools."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from natscope.client import ToolContext, tool
from natscope.client.tools import Function
from natscope.contracts.blocks import Base64Source, ContentBlock, ImageBlock, TextBlock, ToolUseBlock
from natscope.contracts.errors import ArgumentsInvalid, Failure, SpecInvalid
from natscope.contracts.tool import Call


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


def google(city: str) -> str:
    """Say hello.

    Kindly.

    Args:
        city: Where to.
    """
    return city


def numpy_form(city: str) -> str:
    """Say hello.

    Kindly.

    Parameters
    ----------
    city
        Where to.
    """
    return city


def sphinx(city: str) -> str:
    """Say hello.

    Kindly.

    :param city: Where to.
    """
    return city


def context_of(said: list[str] | None = None) -> ToolContext:
    async def progress(text: str) -> None:
        if said is not None:
            said.append(text)

    return ToolContext(Call(call_id="c1", call=use(), session="s1"), progress)


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
        async def untyped(city) -> str:  # pyright: ignore[reportMissingParameterType]
            return city

        async def loose(*cities: str) -> str:
            return cities[0]

        async def opaque(door: asyncio.Event) -> None:
            await door.wait()

        async def calling(back: Callable[[], None]) -> None:
            back()

        for function, said in (
            (untyped, "'city' has no type"),
            (loose, "cannot be named"),
            (opaque, "JSON cannot describe: .*asyncio.*Event"),
            (calling, "JSON cannot describe: .*CallableSchema"),
        ):
            with pytest.raises(SpecInvalid, match=said):
                tool(function)
        with pytest.raises(SpecInvalid, match="name: "):
            tool(forecast, name="not a name")
        with pytest.raises(SpecInvalid, match=r"no option .deadline. .*deadline_s"):
            tool(forecast, **{"deadline": 3})  # pyright: ignore[reportArgumentType, reportCallIssue]
        with pytest.raises(SpecInvalid, match="no argument 'key' to preset"):
            tool(forecast, preset={"key": 1})

    @pytest.mark.parametrize("function", [google, numpy_form, sphinx])
    def test_arguments_are_described_by_the_docstring(self, function: Function) -> None:
        spec = tool(function).spec
        properties = spec.parameters["properties"]
        assert isinstance(properties, dict)
        city = properties["city"]
        assert isinstance(city, dict)
        assert (spec.description, city["description"]) == ("Say hello.\n\nKindly.", "Where to.")

    def test_what_the_annotation_says_stands_before_the_docstring(self) -> None:
        @tool
        def greet(city: Annotated[str, Field(description="By name")]) -> str:
            """Say hello.

            Args:
                city: Where to.
            """
            return city

        assert "By name" in str(greet.spec.parameters)
        assert "Where to" not in str(greet.spec.parameters)

    def test_a_preset_argument_and_the_context_are_not_in_it(self) -> None:
        @tool(preset={"key": "k"}, concurrent=False, deadline_s=2, at_once=1)
        def look(city: str, key: str, context: ToolContext) -> str:
            """Look."""
            return f"{city} {key} {context.call.session}"

        properties = look.spec.parameters["properties"]
        assert isinstance(properties, dict)
        assert list(properties) == ["city"]
        assert (look.spec.concurrent, look.spec.deadline_s, look.at_once) == (False, 2, 1)


class TestCall:
    async def test_the_function_gets_typed_arguments_and_its_result_is_text(self) -> None:
        made = tool(forecast)
        arguments = made.read(use(place={"city": "Kiel"}, days="3"))
        assert arguments["place"] == Place(city="Kiel")
        assert await made.run(arguments, context_of()) == [TextBlock(text='{"city":"Kiel","days":3,"unit":"C"}')]

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

        assert await tool(says).run({"word": "hi"}, context_of()) == [TextBlock(text="hi")]
        assert await tool(shows).run({"word": "hi"}, context_of()) == [TextBlock(text="hi"), TextBlock(text="!")]

    async def test_a_plain_function_runs_beside_the_loop(self) -> None:
        @tool
        def where(word: str) -> str:
            return f"{word} {threading.current_thread() is threading.main_thread()}"

        assert await where.run({"word": "hi"}, context_of()) == [TextBlock(text="hi False")]
        assert where("hi") == "hi True"

    async def test_what_a_generator_yields_is_progress_and_then_the_result(self) -> None:
        picture = ImageBlock(source=Base64Source(data="aGk=", media_type="image/png"))

        async def walks(steps: int) -> AsyncIterator[object]:
            for step in range(steps):
                yield f"{step} "
            yield picture
            yield "done"

        def steps(steps: int) -> Iterator[object]:
            yield from ("0 ", "1 ", picture, "done")

        for function in (walks, steps):
            said: list[str] = []
            result = await tool(function).run({"steps": 2}, context_of(said))
            assert said == ["0 ", "1 ", "done"]
            assert result == [TextBlock(text="0 1 "), picture, TextBlock(text="done")]

    async def test_presets_and_the_context_are_filled_in(self) -> None:
        @tool(preset={"key": "k"})
        async def look(city: str, key: str, context: ToolContext) -> str:
            await context.progress("looking")
            return f"{city} {key} {context.call.session}"

        said: list[str] = []
        assert await look.run({"city": "Kiel"}, context_of(said)) == [TextBlock(text="Kiel k s1")]
        assert said == ["looking"]

    async def test_the_result_can_be_changed_before_the_model_reads_it(self) -> None:
        def short(call: Call, blocks: list[ContentBlock]) -> list[ContentBlock]:
            return [TextBlock(text=f"{call.session}: {len(blocks)}")]

        @tool(postprocess=short)
        async def shows(word: str) -> list[TextBlock]:
            return [TextBlock(text=word), TextBlock(text="!")]

        assert await shows.run({"word": "hi"}, context_of()) == [TextBlock(text="s1: 2")]

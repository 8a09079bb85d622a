"""A reply after tier 2: calls that can be carried out or say why not, and structured output that fits."""

from dataclasses import replace
from typing import Any

import pytest

from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock, plain
from natscope.contracts.errors import ContentRefused, OutputInvalid
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, FinishReason, Output, Usage
from natscope.contracts.tool import ToolSpec
from services.model_gateway.ports import Reply
from services.model_gateway.repair.finishing import Finished, finished
from tests.unit.model_gateway.repair.damage import GROUPS
from tests.unit.model_gateway.repair.objects import objects

PLACE: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
ASK = Chat(
    model="m",
    messages=[Message(name="u", role="user", content=plain("Go"))],
    tools=[
        ToolSpec(name="get_weather", description="", parameters=PLACE),
        ToolSpec(name="Look", description="", parameters={"type": "object"}),
        ToolSpec(name="look_up", description="", parameters={"type": "object"}),
    ],
)
STRUCTURED = ASK.model_copy(update={"tools": [], "output": Output(json_schema=PLACE)})


def reply(*blocks: ContentBlock, reason: FinishReason = "tool_call") -> Reply:
    return Reply([*blocks], reason, Usage(input_tokens=1), "m-1")


def called(raw: str, *, name: str = "get_weather", **input: Any) -> ToolUseBlock:
    return ToolUseBlock(id="c", name=name, raw_input=raw, input=input)


def use(done: Finished, place: int = 0) -> ToolUseBlock:
    block = done.reply.content[place]
    assert isinstance(block, ToolUseBlock)
    return block


class TestACall:
    def test_that_is_sound_stays_as_it_is(self) -> None:
        block = called('{"city": "Rome"}', city="Rome")
        done = finished(reply(TextBlock(text="Let me see."), block), ASK)
        assert done.reply.content[1] is block
        assert done.rules == ()

    def test_that_is_damaged_gets_its_input_and_keeps_what_the_model_wrote(self) -> None:
        done = finished(reply(called("{'city': 'Rome', days: 3}")), ASK)
        assert (use(done).input, use(done).failure) == ({"city": "Rome", "days": 3}, None)
        assert use(done).raw_input == "{'city': 'Rome', days: 3}"
        assert done.rules == ("quotes", "key without quotes")

    def test_that_cannot_be_repaired_fails_with_tier_and_reason_and_has_no_input(self) -> None:
        done = finished(reply(called('{"city": "Ro'), called('{"city": "Oslo"}', city="Oslo")), ASK)
        failure = use(done).failure
        assert failure is not None
        assert (failure.code, failure.details["tier"], use(done).input) == ("output_invalid", 2, {})
        assert "a string without an end" in failure.message
        assert use(done, 1).failure is None

    def test_that_does_not_fit_its_schema_fails_though_it_is_json(self) -> None:
        failure = use(finished(reply(called('{"town": "Rome"}', town="Rome")), ASK)).failure
        assert failure is not None
        assert '"city" is a required property' in str(failure.details["why"])

    def test_whose_input_came_parsed_is_held_to_the_schema_too(self) -> None:
        assert use(finished(reply(called("", city="Rome", days="3")), ASK)).input == {"city": "Rome", "days": 3}
        assert use(finished(reply(called("", town="Rome")), ASK)).failure is not None

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_of_a_reply_that_was_cut_fails_even_if_it_fits(self, reason: FinishReason) -> None:
        block = called('{"city": "Rome"}', city="Rome")
        cut = finished(reply(block, reason=reason), ASK)
        assert use(cut).input == {}
        assert use(cut).failure is not None
        assert use(finished(reply(block, reason="stop"), ASK)).failure is None

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("Get_Weather", "get_weather"),
            (" get_weather\n", "get_weather"),
            ("functions.get_weather", "get_weather"),
            ("functions.get_weather:0", "get_weather"),
            ("default_api:get_weather", "get_weather"),
            ("get_weather<|channel|>commentary", "get_weather"),
            ("look", "Look"),
            ("get_whether", "get_whether"),
            ("weather", "weather"),
        ],
    )
    def test_means_the_one_tool_that_it_can_mean(self, written: str, meant: str) -> None:
        assert use(finished(reply(called('{"city": "Rome"}', name=written)), ASK)).name == meant

    def test_means_none_of_two_that_it_may_mean(self) -> None:
        two = [ToolSpec(name=name, description="", parameters={}) for name in ("Look", "look")]
        ask = ASK.model_copy(update={"tools": two})
        assert use(finished(reply(called("{}", name="LOOK")), ask)).name == "LOOK"

    def test_never_has_an_input_that_does_not_fit_and_none_at_all_if_it_was_cut(self) -> None:
        texts = [
            text
            for damages in GROUPS.values()
            for damage in damages.values()
            for value in objects(seed=5, count=20)
            for text in (damage({"city": "Rome", **value}), damage({"city": "Rome"}))
            if text is not None
        ]
        good = 0
        for text in texts:
            done = use(finished(reply(called(text)), ASK))
            assert done.failure is not None or (done.input.keys() <= {"city", "days"} and done.input["city"])
            good += done.failure is None
            assert use(finished(reply(called(text), reason="length"), ASK)).input == {}
        assert 0 < good < len(texts)


class TestStructuredOutput:
    def test_that_fits_is_given_as_a_value_and_the_message_stays(self) -> None:
        whole = reply(ThinkingBlock(thinking="hm"), TextBlock(text='{"city": "Rome"}'), reason="stop")
        done = finished(whole, STRUCTURED)
        assert done.output == {"city": "Rome"}
        assert done.reply is whole

    def test_that_is_damaged_is_repaired_in_the_message_too(self) -> None:
        spoken = [
            ThinkingBlock(thinking="hm"),
            TextBlock(text="Sure:\n```json\n{'city': 'Rome',}\n"),
            TextBlock(text="```"),
        ]
        done = finished(reply(*spoken, reason="stop"), STRUCTURED)
        assert done.output == {"city": "Rome"}
        assert done.reply.content == [spoken[0], TextBlock(text='{"city":"Rome"}')]

    def test_loses_the_nulls_that_a_strict_schema_made_the_model_write(self) -> None:
        done = finished(reply(TextBlock(text='{"city": "Rome", "days": null}'), reason="stop"), STRUCTURED)
        assert done.output == {"city": "Rome"}

    @pytest.mark.parametrize(
        ("text", "reason", "why"),
        [
            ('{"town": "Rome"}', "stop", "required"),
            ("I cannot tell.", "stop", "no JSON object"),
            ("", "stop", "no JSON object"),
            ('{"city": "Rome"}', "length", "token limit"),
            ('{"city": "Rome"}', "content_filter", "content filter"),
        ],
    )
    def test_that_is_of_no_use_is_an_error_with_tier_reason_and_excerpt(
        self, text: str, reason: FinishReason, why: str
    ) -> None:
        with pytest.raises(OutputInvalid, match=why) as caught:
            finished(reply(TextBlock(text=text), reason=reason), STRUCTURED)
        assert (caught.value.details["tier"], caught.value.details["excerpt"]) == (2, text)

    def test_that_the_model_refuses_to_write_is_told_as_a_refusal(self) -> None:
        refused = replace(reply(TextBlock(text="I will not."), reason="stop"), metadata={"refusal": True})
        with pytest.raises(ContentRefused, match="I will not"):
            finished(refused, STRUCTURED)

    def test_is_not_there_yet_while_the_model_calls_tools(self) -> None:
        ask = ASK.model_copy(update={"output": STRUCTURED.output})
        assert finished(reply(called('{"city": "Rome"}')), ask).output is None

    def test_that_nobody_asked_for_is_only_text(self) -> None:
        whole = reply(TextBlock(text="{'a': 1"), reason="stop")
        assert finished(whole, ASK).reply is whole

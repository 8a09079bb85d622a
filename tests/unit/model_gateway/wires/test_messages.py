"""Writing a conversation as a messages request."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Generation, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.messages import Dialect, Request, request

TOOL = ToolSpec(name="look", description="Looks.", parameters={"type": "object", "properties": {}})
HELLO = Message(name="user", role="user", content=[TextBlock(text="Hello.")])
YES = Message(name="assistant", role="assistant", content=[TextBlock(text="Yes.")])
THOUGHT = ThinkingBlock(thinking="hm", provider="anthropic", signature="c2ln")
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
MARK = {"type": "ephemeral"}


def _request(
    *messages: Message,
    model: str = "claude-sonnet-4-6",
    dialect: Dialect | None = None,
    most: int | None = None,
    **ask: Any,
) -> Request:
    chat = Chat.model_validate({"model": "default", "messages": list(messages) or [HELLO], **ask})
    return request(
        chat,
        model=model,
        provider="anthropic",
        dialect=dialect or Dialect(),
        stream=False,
        max_output_tokens=most,
    )


def _body(*messages: Message, **options: Any) -> dict[str, Any]:
    return json.loads(_request(*messages, **options).content)


def _words(body: dict[str, Any]) -> str:
    return " ".join(part.get("text", "") for part in body["messages"][-1]["content"])


class TestOptions:
    def test_what_is_not_wanted_is_not_said(self) -> None:
        assert _body() == {
            "model": "claude-sonnet-4-6",
            "max_tokens": 16384,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}],
        }

    @pytest.mark.parametrize(
        ("wanted", "most", "told"), [(None, None, 16384), (9, None, 9), (None, 64000, 64000), (9, 5, 5), (3, 5, 3)]
    )
    def test_a_limit_is_always_told(self, wanted: int | None, most: int | None, told: int) -> None:
        assert _body(generation=Generation(max_output_tokens=wanted), most=most)["max_tokens"] == told

    def test_a_stream_is_asked_for_as_one(self) -> None:
        chat = Chat(model="default", messages=[HELLO])
        sent = request(chat, model="m", provider="anthropic", dialect=Dialect(), stream=True)
        assert json.loads(sent.content)["stream"] is True

    def test_stops_are_told_unless_the_api_would_refuse_them(self) -> None:
        assert _body(generation=Generation(stop=["END", "\n"]))["stop_sequences"] == ["END"]
        assert "stop_sequences" not in _body(generation=Generation(stop=["\n"]))

    def test_sampling_is_left_out_because_the_api_has_none(self) -> None:
        sent = _request(generation=Generation(temperature=0.5, top_p=0.5, seed=1))
        assert not {"temperature", "top_p", "seed"} & json.loads(sent.content).keys()
        assert sent.headers == {}

    def test_an_endpoint_that_knows_sampling_gets_one_of_the_two_under_the_old_version(self) -> None:
        old = Dialect(sampling=True)
        sent = _request(generation=Generation(temperature=1.5, top_p=0.5), dialect=old)
        body = json.loads(sent.content)
        assert (body["temperature"], "top_p" in body) == (1.0, False)
        assert sent.headers == {"anthropic-version": "2023-06-01"}
        assert _body(generation=Generation(top_p=0.5), dialect=old)["top_p"] == 0.5


class TestTools:
    def test_have_a_name_a_description_and_a_schema(self) -> None:
        assert _body(tools=[TOOL], dialect=Dialect(cache=False))["tools"] == [
            {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
        ]

    def test_a_schema_the_api_would_refuse_at_its_top_is_made_plain(self) -> None:
        tool = TOOL.model_copy(update={"parameters": {"oneOf": [{"type": "object"}], "description": "x"}})
        assert _body(tools=[tool])["tools"][0]["input_schema"] == {"type": "object", "description": "x"}

    @pytest.mark.parametrize(
        ("choice", "told"),
        [
            ("auto", None),
            ("none", {"type": "none"}),
            ("required", {"type": "any"}),
            ("look", {"type": "tool", "name": "look"}),
        ],
    )
    def test_the_choice_is_told(self, choice: str, told: dict[str, str] | None) -> None:
        assert _body(tools=[TOOL], tool_choice=choice).get("tool_choice") == told

    def test_without_tools_there_is_no_choice(self) -> None:
        assert "tool_choice" not in _body(tool_choice="none")

    def test_tools_that_were_used_but_are_not_on_offer_are_still_known(self) -> None:
        use = Message(name="a", role="assistant", content=[ToolUseBlock(id="1", name="look")])
        result = Message(name="look", role="tool", content=[ToolResultBlock(id="1", name="look")])
        body = _body(HELLO, use, result)
        assert [tool["name"] for tool in body["tools"]] == ["look"]
        assert body["tool_choice"] == {"type": "none"}

    def test_a_model_that_cannot_be_forced_is_told_in_words(self) -> None:
        body = _body(tools=[TOOL], tool_choice="look", model="claude-opus-5-5")
        assert "tool_choice" not in body
        assert "tool look" in _words(body)

    def test_a_model_that_must_not_think_while_forced_does_not(self) -> None:
        body = _body(
            tools=[TOOL], tool_choice="required", model="claude-opus-5", generation=Generation(thinking="high")
        )
        assert (body["tool_choice"], body["thinking"]) == ({"type": "any"}, {"type": "disabled"})


class TestOutput:
    def test_is_held_to_its_schema_by_the_api(self) -> None:
        sent = _request(output=Output(json_schema=PERSON))
        told = json.loads(sent.content)["output_config"]["format"]
        assert told == {"type": "json_schema", "schema": {**PERSON, "additionalProperties": False}}
        assert sent.answer is None

    def test_a_shape_the_api_cannot_hold_is_a_forced_tool(self) -> None:
        anything = {"type": "object", "additionalProperties": {"type": "integer"}}
        sent = _request(output=Output(json_schema=anything, name="count"))
        body = json.loads(sent.content)
        assert body["tools"][0]["input_schema"] == anything
        assert body["tool_choice"] == {"type": "tool", "name": "count"}
        assert sent.answer is not None
        assert not sent.answer.wrapped

    def test_what_is_no_object_is_wrapped_into_one(self) -> None:
        numbers = {"type": "array", "items": {"type": "integer"}}
        sent = _request(output=Output(json_schema=numbers))
        assert json.loads(sent.content)["tools"][0]["input_schema"]["properties"] == {"value": numbers}
        assert sent.answer is not None
        assert sent.answer.wrapped

    def test_an_endpoint_without_it_gets_a_tool(self) -> None:
        body = _body(output=Output(json_schema=PERSON), dialect=Dialect(native_output=False))
        assert body["tool_choice"] == {"type": "tool", "name": "answer"}

    def test_beside_tools_one_of_them_or_the_answer_is_called(self) -> None:
        old = Dialect(native_output=False)
        tool = TOOL.model_copy(update={"name": "answer"})
        body = _body(output=Output(json_schema=PERSON), tools=[tool], dialect=old)
        assert [each["name"] for each in body["tools"]] == ["answer", "answer_0"]
        assert body["tool_choice"] == {"type": "any"}

    def test_a_model_that_cannot_be_forced_is_told_in_words(self) -> None:
        body = _body(output=Output(json_schema={"type": "object"}), model="claude-sonnet-5-5")
        assert "tool_choice" not in body
        assert "tool answer" in _words(body)


class TestThinking:
    @pytest.mark.parametrize(
        ("model", "level", "thinking", "effort"),
        [
            ("claude-sonnet-4-6", None, None, None),
            ("claude-sonnet-4-6", "off", None, None),
            ("claude-sonnet-4-6", "high", {"type": "adaptive", "display": "summarized"}, "high"),
            ("claude-opus-5", "off", {"type": "disabled"}, None),
            ("anthropic/claude-opus-4.7", "low", {"type": "adaptive", "display": "summarized"}, "low"),
            ("claude-sonnet-4-20250514", "medium", {"type": "enabled", "budget_tokens": 8192}, None),
            ("claude-haiku-4-5-20251001", "high", {"type": "enabled", "budget_tokens": 15360}, None),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "low", {"type": "enabled", "budget_tokens": 2048}, None),
            ("claude-3-5-haiku-latest", "high", None, None),
            ("kimi-k3", "high", None, None),
            ("claude-sonnet-5-5", "off", {"type": "between_tools"}, None),
        ],
    )
    def test_is_told_as_each_family_understands_it(
        self, model: str, level: str | None, thinking: dict[str, Any] | None, effort: str | None
    ) -> None:
        body = _body(model=model, generation={"thinking": level})
        assert (body.get("thinking"), body.get("output_config", {}).get("effort")) == (thinking, effort)

    @pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-fable-5-1", "claude-haiku-5-5"])
    def test_a_thought_that_no_longer_fits_is_to_be_dropped_not_refused(self, model: str) -> None:
        sent = _request(model=model)
        binding = {"prefix_mismatch_behavior": "drop_block"}
        assert json.loads(sent.content)["thinking"] == {"type": "adaptive", "block_binding": binding}
        assert sent.headers == {"anthropic-beta": "thinking-binding-controls-2026-08-01"}

    def test_a_model_that_always_thinks_is_told_to_think_little(self) -> None:
        assert _body(model="claude-opus-5-5", generation=Generation(thinking="off"))["output_config"] == {
            "effort": "low"
        }

    def test_leaves_room_for_the_answer_or_does_not_begin(self) -> None:
        def budget(limit: int) -> object:
            wanted = Generation(thinking="high", max_output_tokens=limit)
            return _body(model="claude-sonnet-4-5", generation=wanted).get("thinking", {}).get("budget_tokens")

        assert (budget(4000), budget(2000)) == (2976, None)

    @pytest.mark.parametrize(("before", "begins"), [([THOUGHT], True), ([], False)])
    def test_with_a_budget_does_not_begin_between_a_call_and_its_result(
        self, before: list[ThinkingBlock], begins: bool
    ) -> None:
        use = Message(name="a", role="assistant", content=[*before, ToolUseBlock(id="1", name="look")])
        result = Message(name="look", role="tool", content=[ToolResultBlock(id="1", name="look")])
        wanted = Generation(thinking="low")
        body = _body(HELLO, use, result, model="claude-sonnet-4-5", tools=[TOOL], generation=wanted)
        assert ("thinking" in body) == begins


class TestCache:
    def test_a_single_question_is_not_marked(self) -> None:
        assert (
            b"cache_control"
            not in _request(Message(name="s", role="system", content=[TextBlock(text="Be.")]), HELLO).content
        )

    def test_a_talk_that_goes_on_is_marked_after_its_system_prompt_and_at_its_end(self) -> None:
        body = _body(Message(name="s", role="system", content=[TextBlock(text="Be.")]), HELLO, YES, HELLO)
        assert body["system"][-1]["cache_control"] == MARK
        assert [turn["content"][-1].get("cache_control") for turn in body["messages"]] == [None, None, MARK]

    def test_without_a_system_prompt_the_tools_are_marked(self) -> None:
        body = _body(tools=[TOOL, TOOL.model_copy(update={"name": "listen"})])
        assert [tool.get("cache_control") for tool in body["tools"]] == [None, MARK]
        assert body["messages"][0]["content"][-1]["cache_control"] == MARK

    def test_an_endpoint_without_one_gets_no_marks(self) -> None:
        assert b"cache_control" not in _request(HELLO, YES, HELLO, tools=[TOOL], dialect=Dialect(cache=False)).content

    def test_the_same_ask_is_always_the_same_bytes(self) -> None:
        assert _request(HELLO, YES, tools=[TOOL]).content == _request(HELLO, YES, tools=[TOOL]).content

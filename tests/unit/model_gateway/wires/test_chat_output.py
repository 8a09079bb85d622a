"""Asking for structured output and for calls, in what way a dialect can."""

import json
from typing import Any

import pytest
from pydantic import JsonValue

from natscope.contracts.blocks import TextBlock, ToolUseBlock, plain
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Generation, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.chat import body
from services.model_gateway.wires.chat_output import plan
from services.model_gateway.wires.chat_reply import Draft
from services.model_gateway.wires.dialects import Dialect, dialect
from tests.loopback.chat_wire import events, unary
from tests.loopback.replies import Call, Reply

CITY: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["name"],
}
LIST: dict[str, JsonValue] = {"type": "array", "items": {"type": "string"}}
LOOK = ToolSpec(name="look", description="Looks.", parameters={"type": "object", "properties": {}})
HEAR = ToolSpec(name="hear", description="Hears.", parameters={"type": "object", "properties": {}})


def _ask(
    schema: dict[str, JsonValue] | None = CITY, *tools: ToolSpec, choice: str = "auto", thinking: Any = None
) -> Chat:
    return Chat(
        model="default",
        messages=[
            Message(name="system", role="system", content=plain("Be kind.")),
            Message(name="user", role="user", content=plain("Which?")),
        ],
        output=Output(json_schema=schema) if schema is not None else None,
        tools=list(tools),
        tool_choice=choice,
        generation=Generation(thinking=thinking),
    )


def _sent(ask: Chat, speaks: Dialect) -> dict[str, Any]:
    return json.loads(body(ask, model="m-1", provider="openai", dialect=speaks, stream=False))


class TestJsonSchema:
    def test_is_lowered_to_strict_mode(self) -> None:
        inner = _sent(_ask(), dialect("openai"))["response_format"]["json_schema"]
        assert (inner["name"], inner["strict"]) == ("answer", True)
        assert inner["schema"]["required"] == ["name", "size"]
        assert inner["schema"]["properties"]["size"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}

    def test_is_sent_as_it_is_where_any_schema_is_understood(self) -> None:
        inner = _sent(_ask(), dialect("vllm"))["response_format"]["json_schema"]
        assert (inner["schema"], inner["strict"]) == (CITY, False)

    def test_is_sent_as_it_is_where_strict_mode_could_not_give_every_answer(self) -> None:
        free: dict[str, JsonValue] = {"type": "object", "additionalProperties": {"type": "string"}}
        inner = _sent(_ask(free), dialect("openai"))["response_format"]["json_schema"]
        assert (inner["schema"], inner["strict"]) == (free, False)

    def test_an_answer_that_is_no_object_is_wrapped_and_unwrapped(self) -> None:
        planned = plan(_ask(LIST), dialect("openai"))
        assert planned.wrapped
        draft = Draft("openai", "m-1", planned=planned)
        draft.whole(unary(Reply(text='{"value": ["a", "b"]}')))
        assert draft.end().content == [TextBlock(text='["a","b"]')]


class TestJsonObject:
    def test_the_schema_stands_at_the_end_of_the_system_prompt(self) -> None:
        sent = _sent(_ask(), dialect("deepseek"))
        assert sent["response_format"] == {"type": "json_object"}
        system = sent["messages"][0]["content"]
        assert system.startswith("Be kind.\n\n")
        assert "JSON" in system
        assert '"name"' in system

    def test_without_a_system_prompt_there_is_one(self) -> None:
        ask = _ask().model_copy(update={"messages": [Message(name="user", role="user", content=plain("Which?"))]})
        assert [turn["role"] for turn in _sent(ask, dialect("deepseek"))["messages"]] == ["system", "user"]

    def test_thinking_is_turned_off_where_it_forbids_json(self) -> None:
        assert _sent(_ask(), dialect("dashscope"))["enable_thinking"] is False

    def test_it_is_only_asked_for_where_the_asker_wants_thinking_that_forbids_json(self) -> None:
        sent = _sent(_ask(thinking="high"), dialect("dashscope"))
        assert "response_format" not in sent
        assert sent["enable_thinking"] is True
        assert '"name"' in sent["messages"][0]["content"]


class TestTool:
    SPEAKS = Dialect(output="tool")

    def test_the_answer_is_the_call_of_a_tool_that_must_be_called(self) -> None:
        sent = _sent(_ask(), self.SPEAKS)
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["answer"]
        assert sent["tool_choice"] == {"type": "function", "function": {"name": "answer"}}

    def test_beside_other_tools_one_of_them_must_be_called(self) -> None:
        sent = _sent(_ask(CITY, LOOK), self.SPEAKS)
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["look", "answer"]
        assert sent["tool_choice"] == "required"

    def test_a_tool_of_that_name_stays_another(self) -> None:
        other = LOOK.model_copy(update={"name": "answer"})
        assert plan(_ask(CITY, other), self.SPEAKS).answer_tool == "answer_"

    @pytest.mark.parametrize("streamed", [False, True])
    def test_the_call_is_told_as_text(self, streamed: bool) -> None:
        draft = Draft("openai", "m-1", planned=plan(_ask(), self.SPEAKS))
        called = Reply(calls=(Call("answer", '{"name": "Ulm"}'),))
        data = [event[6:].strip() for event in events(called)]
        pieces = draft.take(data) if streamed else draft.whole(unary(called))
        reply = draft.end()
        assert reply.content == [TextBlock(text='{"name": "Ulm"}')]
        assert reply.finish_reason == "stop"
        assert {piece.kind for piece in pieces} == {"text"}
        assert "".join(piece.text for piece in pieces) == '{"name": "Ulm"}'

    def test_a_call_of_another_tool_stays_a_call(self) -> None:
        draft = Draft("openai", "m-1", planned=plan(_ask(CITY, LOOK), self.SPEAKS))
        draft.whole(unary(Reply(calls=(Call("look"),))))
        assert draft.end().content == [ToolUseBlock(id="call_1", name="look", input={}, raw_input="{}")]

    def test_groq_takes_it_only_beside_tools(self) -> None:
        assert _sent(_ask(CITY, LOOK), dialect("groq"))["tool_choice"] == "required"
        assert _sent(_ask(), dialect("groq"))["response_format"] == {"type": "json_object"}


class TestPrompt:
    def test_the_schema_is_only_asked_for(self) -> None:
        sent = _sent(_ask(LIST), dialect("minimax"))
        assert "response_format" not in sent
        assert json.dumps(LIST, separators=(",", ":")) in sent["messages"][0]["content"]


class TestToolChoice:
    @pytest.mark.parametrize(
        ("name", "choice", "sent"),
        [
            ("openai", "required", "required"),
            ("mistral", "required", "any"),
            ("openai", "none", "none"),
            ("openai", "look", {"type": "function", "function": {"name": "look"}}),
            ("dashscope", "look", {"type": "function", "function": {"name": "look"}}),
        ],
    )
    def test_is_said_in_the_endpoints_own_words(self, name: str, choice: str, sent: JsonValue) -> None:
        told = _sent(_ask(None, LOOK, HEAR, choice=choice), dialect(name))
        assert told["tool_choice"] == sent
        assert len(told["tools"]) == 2

    def test_auto_needs_no_word(self) -> None:
        assert "tool_choice" not in _sent(_ask(None, LOOK), dialect("openai"))

    def test_none_takes_the_tools_away_where_it_cannot_be_said(self) -> None:
        sent = _sent(_ask(None, LOOK, choice="none"), dialect("zhipu"))
        assert "tools" not in sent
        assert "tool_choice" not in sent

    def test_a_call_is_asked_for_in_words_where_it_cannot_be_forced(self) -> None:
        sent = _sent(_ask(None, LOOK, HEAR, choice="required"), dialect("zhipu"))
        assert "tool_choice" not in sent
        assert "calling one of the tools" in sent["messages"][0]["content"]

    def test_one_tool_is_offered_alone_where_it_cannot_be_named(self) -> None:
        sent = _sent(_ask(None, LOOK, HEAR, choice="hear"), dialect("lmstudio"))
        assert [tool["function"]["name"] for tool in sent["tools"]] == ["hear"]
        assert sent["tool_choice"] == "required"

    def test_thinking_is_turned_off_where_it_forbids_forcing(self) -> None:
        assert _sent(_ask(None, LOOK, choice="required"), dialect("deepseek"))["thinking"] == {"type": "disabled"}
        assert "thinking" not in _sent(_ask(None, LOOK), dialect("deepseek"))

    def test_nothing_is_forced_where_the_asker_wants_thinking_that_forbids_it(self) -> None:
        sent = _sent(_ask(None, LOOK, choice="required", thinking="high"), dialect("deepseek"))
        assert "tool_choice" not in sent
        assert sent["thinking"] == {"type": "enabled"}
        assert "calling one of the tools" in sent["messages"][0]["content"]

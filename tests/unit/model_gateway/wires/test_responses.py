"""Writing a conversation as a request of the responses API."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from natscope.contracts.message import Message, Role
from natscope.contracts.model import Chat, Generation, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.responses import body, wraps

TOOL = ToolSpec(
    name="look",
    description="Looks.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
)
PNG = Base64Source(data="iVBORw==", media_type="image/png")
WAV = Base64Source(data="UklGRg==", media_type="audio/wav")
PDF = Base64Source(data="JVBERg==", media_type="application/pdf")
USE = ToolUseBlock(id="call_1", name="look", input={"at": "it"}, raw_input='{"at":"it"}')


def _body(
    *messages: Message, model: str = "gpt-4o", provider: str = "openai", stream: bool = False, **more: Any
) -> dict[str, Any]:
    ask = Chat.model_validate({"model": "default", "messages": list(messages), **more})
    return json.loads(body(ask, model=model, provider=provider, stream=stream))


def _said(role: Role, *content: ContentBlock | str, name: str | None = None, **more: Any) -> Message:
    blocks = [TextBlock(text=each) if isinstance(each, str) else each for each in content]
    return Message(name=name or role, role=role, content=blocks, **more)


def _items(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    return _body(*messages, **more)["input"]


HELLO = _said("user", "Hello?")


class TestRequest:
    def test_says_all_and_leaves_nothing_behind(self) -> None:
        assert _body(_said("system", "Be brief."), HELLO) == {
            "model": "gpt-4o",
            "instructions": "Be brief.",
            "input": [{"role": "user", "content": "Hello?"}],
            "store": False,
        }

    def test_the_same_ask_gives_the_same_bytes(self) -> None:
        ask = Chat(model="default", messages=[HELLO], tools=[TOOL])
        assert body(ask, model="m", provider="openai", stream=True) == body(
            ask, model="m", provider="openai", stream=True
        )

    def test_what_the_system_says_later_stays_where_it_was(self) -> None:
        said = _body(_said("system", "A."), _said("system", "B."), HELLO, _said("system", "C."))
        assert said["instructions"] == "A.\n\nB."
        assert said["input"][-1] == {"role": "system", "content": "C."}

    def test_a_talk_of_the_system_alone_is_the_input(self) -> None:
        said = _body(_said("system", "Begin."))
        assert said["input"] == [{"role": "system", "content": "Begin."}]
        assert "instructions" not in said

    def test_a_stream_is_asked_for(self) -> None:
        assert _body(HELLO, stream=True)["stream"] is True

    def test_generation_is_named_as_the_api_does(self) -> None:
        said = _body(
            HELLO, generation=Generation(temperature=0.5, top_p=0.9, max_output_tokens=100, seed=1, stop=["x"])
        )
        assert {name: said.get(name) for name in ("temperature", "top_p", "max_output_tokens", "seed", "stop")} == {
            "temperature": 0.5,
            "top_p": 0.9,
            "max_output_tokens": 100,
            "seed": None,
            "stop": None,
        }

    def test_no_limit_is_smaller_than_the_least(self) -> None:
        assert _body(HELLO, generation=Generation(max_output_tokens=1))["max_output_tokens"] == 16

    @pytest.mark.parametrize(
        ("model", "thinking", "sent"),
        [
            ("gpt-4o", None, True),
            ("gpt-5-chat-latest", None, True),
            ("gpt-5-mini", None, False),
            ("o3", None, False),
            ("openai/o4-mini", None, False),
            ("gpt-5.1", None, True),
            ("gpt-5.1", "high", False),
            ("gpt-5.5", None, False),
            ("deepseek-chat", "high", True),
        ],
    )
    def test_a_temperature_goes_only_to_models_that_take_it(self, model: str, thinking: str | None, sent: bool) -> None:
        wanted = Generation.model_validate({"temperature": 0.5, "thinking": thinking})
        assert ("temperature" in _body(HELLO, model=model, generation=wanted)) is sent

    @pytest.mark.parametrize(
        ("model", "level", "effort"),
        [
            ("gpt-5", "off", "minimal"),
            ("gpt-5.1", "off", "none"),
            ("o3", "off", "low"),
            ("gpt-5.5", "high", "high"),
            ("gpt-4o", "high", None),
        ],
    )
    def test_thinking_is_asked_for_as_the_model_can(self, model: str, level: str, effort: str | None) -> None:
        said = _body(HELLO, model=model, generation=Generation.model_validate({"thinking": level}))
        assert said.get("reasoning") == ({"effort": effort} if effort else None)

    @pytest.mark.parametrize(("model", "is_asked"), [("gpt-5", True), ("o4-mini", True), ("gpt-4o", False)])
    def test_encrypted_reasoning_is_asked_of_those_who_have_it(self, model: str, is_asked: bool) -> None:
        assert _body(HELLO, model=model).get("include") == (["reasoning.encrypted_content"] if is_asked else None)


class TestTools:
    def test_are_strict_where_that_loses_nothing(self) -> None:
        free = ToolSpec(name="any", description="Any.", parameters={"type": "object"})
        strict, loose = _body(HELLO, tools=[TOOL, free])["tools"]
        assert strict == {
            "type": "function",
            "name": "look",
            "description": "Looks.",
            "parameters": {**TOOL.parameters, "additionalProperties": False},
            "strict": True,
        }
        assert (loose["parameters"], loose["strict"]) == ({"type": "object"}, False)

    @pytest.mark.parametrize(
        ("choice", "sent"),
        [
            ("auto", None),
            ("none", "none"),
            ("required", "required"),
            ("look", {"type": "function", "name": "look"}),
        ],
    )
    def test_the_choice_among_them_is_named(self, choice: str, sent: object) -> None:
        assert _body(HELLO, tools=[TOOL], tool_choice=choice).get("tool_choice") == sent

    def test_calls_in_parallel_and_their_results_are_items(self) -> None:
        other = USE.model_copy(update={"id": "call_2"})
        results = [ToolResultBlock(id=id, name="look", output=[TextBlock(text=id)]) for id in ("call_1", "call_2")]
        assert _items(HELLO, _said("assistant", USE, other), _said("tool", *results))[1:] == [
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at":"it"}'},
            {"type": "function_call", "call_id": "call_2", "name": "look", "arguments": '{"at":"it"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "call_1"},
            {"type": "function_call_output", "call_id": "call_2", "output": "call_2"},
        ]

    @pytest.mark.parametrize(
        ("use", "sent"),
        [
            (USE.model_copy(update={"raw_input": ""}), '{"at":"it"}'),
            (USE.model_copy(update={"raw_input": '{"at": it}'}), '{"at":"it"}'),
            (USE.model_copy(update={"raw_input": '{"at": ', "input": {}}), '{"INVALID_JSON":"{\\"at\\": "}'),
        ],
    )
    def test_arguments_are_always_json(self, use: ToolUseBlock, sent: str) -> None:
        assert _items(HELLO, _said("assistant", use))[1]["arguments"] == sent

    def test_an_id_that_is_too_long_is_shortened_alike_on_both_sides(self) -> None:
        use = USE.model_copy(update={"id": "x" * 100})
        result = ToolResultBlock(id="x" * 100, name="look", output=[])
        call, output = _items(HELLO, _said("assistant", use), _said("tool", result))[1:]
        assert call["call_id"] == output["call_id"]
        assert len(call["call_id"]) <= 64

    def test_a_result_says_its_state(self) -> None:
        result = ToolResultBlock(id="call_1", name="look", output=[TextBlock(text="No.")], state="error")
        assert _items(HELLO, _said("assistant", USE), _said("tool", result))[-1]["output"] == "[error]\nNo."

    def test_pictures_and_files_in_a_result_stay_in_it(self) -> None:
        output: list[ContentBlock] = [
            TextBlock(text="Here."),
            ImageBlock(source=PNG),
            FileBlock(name="a.pdf", source=PDF),
        ]
        result = ToolResultBlock(id="call_1", name="look", output=output)
        assert _items(HELLO, _said("assistant", USE), _said("tool", result))[2:] == [
            {
                "type": "function_call_output",
                "call_id": "call_1",
                "output": [
                    {"type": "input_text", "text": "Here."},
                    {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
                ],
            }
        ]

    def test_pictures_in_a_result_are_shown_after_it_where_it_can_hold_none(self) -> None:
        result = ToolResultBlock(id="call_1", name="look", output=[ImageBlock(source=PNG)])
        *_, output, shown = _items(HELLO, _said("assistant", USE), _said("tool", result), provider="deepseek")
        assert output["output"] == "[image (image/png): see the next message]"
        assert [part["type"] for part in shown["content"]] == ["input_text", "input_image"]

    def test_sound_in_results_is_shown_after_the_last_of_them(self) -> None:
        sound = ToolResultBlock(id="call_1", name="look", output=[AudioBlock(source=WAV)])
        plain = ToolResultBlock(id="call_2", name="look", output=[TextBlock(text="Yes.")])
        uses = _said("assistant", USE, USE.model_copy(update={"id": "call_2"}))
        items = _items(HELLO, uses, _said("tool", sound), _said("tool", plain), _said("user", "And?"))
        assert [item.get("type", item.get("role")) for item in items] == [
            "user", "function_call", "function_call", "function_call_output", "function_call_output", "user", "user",
        ]  # fmt: skip
        assert items[5]["content"][1] == {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


class TestOverrides:
    def test_what_is_laid_over_a_request_keeps_what_it_does_not_name(self) -> None:
        ask = Chat(model="default", messages=[HELLO], generation=Generation(thinking="high"))
        more = {"reasoning": {"summary": "auto"}, "store": True}
        said = json.loads(body(ask, model="gpt-5", provider="openai", stream=False, more=more))
        assert said["reasoning"] == {"effort": "high", "summary": "auto"}
        assert said["store"] is True


class TestOutput:
    def test_a_schema_that_strict_mode_can_hold_is_strict(self) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}, "required": ["n"]}
        said = _body(HELLO, output=Output(json_schema=schema, name="count", description="How many."))
        assert said["text"]["format"] == {
            "type": "json_schema",
            "name": "count",
            "description": "How many.",
            "schema": {
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
                "additionalProperties": False,
            },
            "strict": True,
        }

    def test_any_other_is_sent_as_it_is(self) -> None:
        schema = {"type": "object", "additionalProperties": {"type": "integer"}}
        told = _body(HELLO, output=Output(json_schema=schema))["text"]["format"]
        assert (told["schema"], told["strict"]) == (schema, False)

    def test_what_is_no_object_is_wrapped_in_one(self) -> None:
        ask = Chat(
            model="default", messages=[HELLO], output=Output(json_schema={"type": "array", "items": {"type": "string"}})
        )
        told = json.loads(body(ask, model="gpt-4o", provider="openai", stream=False))["text"]["format"]
        assert wraps(ask)
        assert told["schema"]["properties"] == {"value": {"type": "array", "items": {"type": "string"}}}

"""Writing a conversation in the dialects of chat completions."""

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
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    URLSource,
    VideoBlock,
)
from natscope.contracts.message import Message, Role
from natscope.contracts.model import Chat, Generation
from services.model_gateway.wires.chat import body
from services.model_gateway.wires.chat_reply import Draft
from services.model_gateway.wires.dialects import Dialect, dialect, names

PNG = ImageBlock(source=Base64Source(data="iVBORw==", media_type="image/png"))
MP4 = VideoBlock(source=URLSource(url="https://example.org/a.mp4", media_type="video/mp4"))
WAV = AudioBlock(source=Base64Source(data="UklGRg==", media_type="audio/x-wav"))
PDF = FileBlock(name="a.pdf", source=Base64Source(data="JVBERg==", media_type="application/pdf"))
CALL = ToolUseBlock(id="call_abc", name="look", input={"at": 1}, raw_input='{"at": 1}')
RESULT = ToolResultBlock(id="call_abc", name="look", output=[TextBlock(text="a cat")])


def _said(role: Role, *content: ContentBlock | str, name: str | None = None) -> Message:
    blocks = [TextBlock(text=each) if isinstance(each, str) else each for each in content]
    return Message(name=name or role, role=role, content=blocks)


def _body(speaks: Dialect, *messages: Message, generation: Generation | None = None, **more: Any) -> dict[str, Any]:
    ask = Chat(model="default", messages=list(messages), generation=generation or Generation())
    sent = body(ask, model="m-1", provider=speaks.provider, dialect=speaks, stream=more.get("stream", False))
    return json.loads(sent)


def _turns(name: str, *messages: Message) -> list[dict[str, Any]]:
    return _body(dialect(name), *messages)["messages"]


def _read(name: str, message: dict[str, Any]) -> list[ContentBlock]:
    draft = Draft(dialect(name).provider, "m-1")
    draft.whole(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    return draft.end().content


class TestEveryDialect:
    @pytest.mark.parametrize("name", names())
    @pytest.mark.parametrize("streamed", [False, True])
    def test_can_say_a_whole_conversation(self, name: str, streamed: bool) -> None:
        sent = _body(
            dialect(name),
            _said("system", "Be kind."),
            _said("user", "Look.", PNG, MP4, WAV, PDF, name="ann"),
            _said("assistant", ThinkingBlock(thinking="hm", provider=dialect(name).provider), "I look.", CALL),
            _said("tool", RESULT),
            _said("user", "And?"),
            generation=Generation(
                temperature=2, top_p=0.5, max_output_tokens=9, seed=1, stop=["a", "b"], thinking="low"
            ),
            stream=streamed,
        )
        assert [turn["role"] for turn in sent["messages"]] == ["system", "user", "assistant", "tool", "user"]
        call, result = sent["messages"][2]["tool_calls"][0], sent["messages"][3]
        assert call["id"] == result["tool_call_id"]
        assert json.loads(call["function"]["arguments"]) == {"at": 1}
        assert sent.get("stream", False) is streamed


class TestMedia:
    def test_a_video_is_shown_to_those_who_take_it(self) -> None:
        part = _turns("dashscope", _said("user", MP4))[0]["content"][0]
        assert part == {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}}

    def test_a_picture_is_mentioned_to_those_who_take_none(self) -> None:
        assert "left out" in _turns("deepseek", _said("user", PNG))[0]["content"]

    def test_sound_is_an_address_where_that_is_wanted(self) -> None:
        part = _turns("dashscope", _said("user", WAV))[0]["content"][0]
        assert part["input_audio"] == {"data": "data:;base64,UklGRg==", "format": "wav"}

    def test_sound_by_address_is_mentioned_where_only_the_sound_itself_is_taken(self) -> None:
        far = AudioBlock(source=URLSource(url="https://example.org/a.wav", media_type="audio/wav"))
        assert "left out" in _turns("openai", _said("user", far))[0]["content"]

    def test_a_document_is_written_as_the_endpoint_wants_it(self) -> None:
        part = _turns("mistral", _said("user", PDF))[0]["content"][0]
        assert (part["type"], part["document_name"]) == ("document_url", "a.pdf")

    def test_media_in_results_is_not_promised_to_those_who_take_none(self) -> None:
        seen = ToolResultBlock(id="call_abc", name="look", output=[PNG])
        turns = _turns("deepseek", _said("assistant", CALL), _said("tool", seen))
        assert len(turns) == 2
        assert "takes none" in turns[1]["content"]

    def test_a_picture_that_the_model_made_is_shown_back_to_it(self) -> None:
        turns = _turns("openrouter", _said("assistant", "Here.", PNG), _said("user", "Redder."))
        assert [turn["role"] for turn in turns] == ["assistant", "user", "user"]
        assert turns[1]["content"][1]["type"] == "image_url"


class TestTurns:
    def test_a_result_comes_before_what_was_said_beside_it(self) -> None:
        turns = _turns("openai", _said("assistant", CALL), _said("user", "Quick!", RESULT))
        assert [turn["role"] for turn in turns] == ["assistant", "tool", "user"]

    def test_what_was_said_meanwhile_comes_after_the_results(self) -> None:
        turns = _turns("openai", _said("assistant", CALL), _said("user", "Quick!"), _said("tool", RESULT))
        assert [turn["role"] for turn in turns] == ["assistant", "tool", "user"]

    def test_a_turn_that_says_nothing_here_is_left_out(self) -> None:
        turns = _turns("openai", _said("user", "Hi."), _said("assistant", ThinkingBlock(thinking="hm")))
        assert [turn["role"] for turn in turns] == ["user"]

    def test_speakers_are_not_named_where_that_is_refused(self) -> None:
        assert "name" not in _turns("mistral", _said("user", "Hi.", name="ann"))[0]

    def test_ids_of_another_provider_are_made_to_fit_alike_in_call_and_result(self) -> None:
        turns = _turns("mistral", _said("assistant", CALL), _said("tool", RESULT))
        id = turns[0]["tool_calls"][0]["id"]
        assert len(id) == 9
        assert id.isalnum()
        assert turns[1]["tool_call_id"] == id

    def test_an_id_that_is_too_long_is_made_to_fit(self) -> None:
        turns = _turns("openai", _said("assistant", CALL.model_copy(update={"id": "x" * 41})))
        assert len(turns[0]["tool_calls"][0]["id"]) <= 40

    def test_arguments_that_are_no_json_do_not_go_where_they_are_refused(self) -> None:
        torn = CALL.model_copy(update={"input": {}, "raw_input": '{"at": '})
        assert _turns("vllm", _said("assistant", torn))[0]["tool_calls"][0]["function"]["arguments"] == "{}"

    def test_repaired_arguments_go_instead(self) -> None:
        torn = CALL.model_copy(update={"raw_input": '{"at": 1'})
        assert _turns("vllm", _said("assistant", torn))[0]["tool_calls"][0]["function"]["arguments"] == '{"at":1}'


class TestThinking:
    THOUGHT = ThinkingBlock(thinking="hm", provider="zhipu")

    def test_goes_back_only_within_the_turn_where_that_is_enough(self) -> None:
        turns = _turns(
            "zhipu",
            _said("user", "One."),
            _said("assistant", self.THOUGHT, "1"),
            _said("user", "Two."),
            _said("assistant", self.THOUGHT, CALL),
            _said("tool", RESULT),
            _said("user", "Time is short.", name="system"),
        )
        assert "reasoning_content" not in turns[1]
        assert turns[3]["reasoning_content"] == "hm"

    def test_goes_back_always_where_it_is_missed_else(self) -> None:
        thought = ThinkingBlock(thinking="hm", provider="moonshot_ai")
        turns = _turns("moonshot", _said("user", "1"), _said("assistant", thought, CALL), _said("tool", RESULT))
        later = _turns(
            "moonshot", _said("assistant", thought, CALL), _said("tool", RESULT), _said("user", "2"), _said("user", "3")
        )
        assert turns[1]["reasoning_content"] == later[0]["reasoning_content"] == "hm"

    def test_stands_in_the_content_where_the_endpoint_wrote_it_there(self) -> None:
        thought = ThinkingBlock(thinking="hm", provider="mistral_ai")
        content = _turns("mistral", _said("user", "Hi."), _said("assistant", thought, "Yes."))[1]["content"]
        assert content[0] == {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
        assert content[1] == {"type": "text", "text": "Yes."}

    @pytest.mark.parametrize(
        "detail",
        [
            {
                "type": "reasoning.text",
                "text": "hm",
                "signature": "c2ln/+=",
                "format": "anthropic-claude-v1",
                "index": 0,
            },
            {
                "type": "reasoning.encrypted",
                "data": "ZW5j/+=",
                "id": "rs_1",
                "format": "openai-responses-v1",
                "index": 0,
            },
            {"type": "reasoning.summary", "summary": "hm", "format": "openai-responses-v1", "index": 1},
        ],
    )
    def test_opaque_parts_come_back_as_they_were(self, detail: dict[str, Any]) -> None:
        read = _read("openrouter", {"content": "Yes.", "reasoning": "hm", "reasoning_details": [detail]})
        stored = [Message.model_validate_json(_said("assistant", *read).model_dump_json())]
        assert _turns("openrouter", *stored)[0]["reasoning_details"] == [detail]

    def test_a_signature_that_hangs_on_a_call_hangs_there_again(self) -> None:
        extra = {"google": {"thought_signature": "AVSo/+="}}
        call = {"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}}
        calls = [{**call, "extra_content": extra}, {**call, "id": "d"}]
        read = _read("openai", {"tool_calls": calls})
        assert _turns("openai", _said("assistant", *read))[0]["tool_calls"] == calls

    def test_a_signature_that_hangs_on_the_message_hangs_there_again(self) -> None:
        extra = {"google": {"thought": True, "thought_signature": "AVSo/+="}}
        read = _read("openai", {"content": "Noon.", "extra_content": extra})
        assert _turns("openai", _said("assistant", *read)) == [
            {"role": "assistant", "content": "Noon.", "extra_content": extra}
        ]

    @pytest.mark.parametrize(
        ("name", "level", "sent"),
        [
            ("openai", "low", {"reasoning_effort": "low"}),
            ("zhipu", "off", {"thinking": {"type": "disabled"}}),
            ("dashscope", "medium", {"enable_thinking": True, "thinking_budget": 8192}),
            ("openrouter", "high", {"reasoning": {"effort": "high"}}),
            ("xai", "off", {}),
        ],
    )
    def test_is_switched_in_the_endpoints_own_way(self, name: str, level: Any, sent: dict[str, Any]) -> None:
        told = _body(dialect(name), _said("user", "Hi."), generation=Generation(thinking=level))
        assert {field: told[field] for field in sent} == sent
        assert "off" not in told.values()


class TestGeneration:
    WANTED = Generation(temperature=2, top_p=0.5, max_output_tokens=9, seed=1, stop=["a", "b"])

    def test_is_kept_within_the_endpoints_bounds(self) -> None:
        sent = _body(dialect("zhipu"), _said("user", "Hi."), generation=self.WANTED)
        assert (sent["temperature"], sent["stop"], sent["max_tokens"]) == (1, ["a"], 9)
        assert "seed" not in sent

    def test_a_seed_is_named_as_the_endpoint_names_it(self) -> None:
        assert _body(dialect("mistral"), _said("user", "Hi."), generation=self.WANTED)["random_seed"] == 1

    def test_models_that_refuse_a_temperature_are_told_none(self) -> None:
        ask = Chat(model="default", messages=[_said("user", "Hi.")], generation=self.WANTED)
        sent = json.loads(body(ask, model="o3-mini", provider="openai", dialect=dialect("openai"), stream=False))
        assert "temperature" not in sent
        assert "top_p" not in sent

    def test_what_the_endpoint_always_wants_is_there(self) -> None:
        assert _body(dialect("minimax"), _said("user", "Hi."))["reasoning_split"] is True

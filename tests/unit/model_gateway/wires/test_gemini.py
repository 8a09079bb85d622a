"""Writing a conversation as a request of Gemini's."""

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
    UnknownBlock,
    URLSource,
    VideoBlock,
)
from natscope.contracts.message import Message, Role
from natscope.contracts.model import Chat
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.gemini import body, forced, path
from services.model_gateway.wires.gemini_turns import FOREIGN

OURS = "gcp.gemini"
OLD, NEW = "gemini-2.5-flash", "gemini-3-pro"
PNG = ImageBlock(source=Base64Source(data="iVBORw==", media_type="image/png"))
LOOK = ToolSpec(
    name="look",
    description="Looks.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
)
OUTPUT = {"json_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}


def _message(role: Role, *blocks: ContentBlock | str) -> Message:
    content = [TextBlock(text=block) if isinstance(block, str) else block for block in blocks]
    return Message(name=role, role=role, content=content)


def _body(*messages: Message, model: str = OLD, **more: object) -> dict[str, Any]:
    ask = Chat.model_validate({"model": "default", "messages": list(messages) or [_message("user", "Hi.")], **more})
    return json.loads(body(ask, model=model, provider=OURS))


def _turns(*messages: Message, model: str = OLD, **more: object) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(turn["role"], turn["parts"]) for turn in _body(*messages, model=model, **more)["contents"]]


def _use(id: str = "c1", **arguments: str) -> ToolUseBlock:
    return ToolUseBlock(id=id, name="look", input=dict(arguments))


def _own(thinking: str = "", **more: Any) -> ThinkingBlock:
    return ThinkingBlock(thinking=thinking, provider=OURS, **more)


class TestTurns:
    def test_the_system_prompt_is_the_instruction(self) -> None:
        sent = _body(_message("system", "Be brief."), _message("user", "Hi."))
        assert sent["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert sent["contents"] == [{"role": "user", "parts": [{"text": "Hi."}]}]

    def test_a_later_system_message_is_said_where_it_stands(self) -> None:
        turns = _turns(_message("user", "Hi."), _message("assistant", "Yes?"), _message("system", "Be brief."))
        assert turns[-1] == ("user", [{"text": "Be brief."}])

    def test_a_system_prompt_alone_is_what_the_user_says(self) -> None:
        sent = _body(_message("system", "Greet."))
        assert sent == {**sent, "contents": [{"role": "user", "parts": [{"text": "Greet."}]}]}
        assert "systemInstruction" not in sent

    def test_messages_of_one_side_in_a_row_are_one_turn(self) -> None:
        turns = _turns(_message("user", "One."), _message("user", "Two."), _message("assistant", "Three."))
        assert turns == [("user", [{"text": "One."}, {"text": "Two."}]), ("model", [{"text": "Three."}])]

    def test_results_come_first_in_the_turn_after_their_calls(self) -> None:
        result = ToolResultBlock(id="c1", name="look", output=[TextBlock(text="A cat.")])
        turns = _turns(
            _message("assistant", _use(at="it")), _message("user", "Quick!"), _message("tool", result), model=OLD
        )
        answer = {"id": "c1", "name": "look", "response": {"output": "A cat."}}
        assert turns == [
            ("model", [{"functionCall": {"id": "c1", "name": "look", "args": {"at": "it"}}}]),
            ("user", [{"functionResponse": answer}, {"text": "Quick!"}]),
        ]

    @pytest.mark.parametrize(
        ("state", "response"),
        [
            ("error", {"error": "No."}),
            ("denied", {"error": "[denied]\nNo."}),
            ("unknown", {"error": "[unknown]\nNo."}),
        ],
    )
    def test_a_result_that_is_no_success_says_so(self, state: str, response: dict[str, str]) -> None:
        block = ToolResultBlock.model_validate({"id": "1", "name": "look", "output": [{"type": "text", "text": "No."}]})
        ((_, parts),) = _turns(_message("tool", block.model_copy(update={"state": state})))
        assert parts[0]["functionResponse"]["response"] == response

    def test_the_same_ask_gives_the_same_bytes(self) -> None:
        assert _body(tools=[LOOK], output=OUTPUT) == _body(tools=[LOOK], output=OUTPUT)


class TestMedia:
    @pytest.mark.parametrize("kind", ["image/png", "audio/wav", "video/mp4"])
    def test_is_shown_inline(self, kind: str) -> None:
        block = {"image": ImageBlock, "audio": AudioBlock, "video": VideoBlock}[kind.partition("/")[0]]
        ((_, parts),) = _turns(_message("user", block(source=Base64Source(data="AAAA", media_type=kind))))
        assert parts == [{"inlineData": {"mimeType": kind, "data": "AAAA"}}]

    def test_at_an_address_is_named(self) -> None:
        video = VideoBlock(source=URLSource(url="https://youtu.be/x", media_type="video/mp4"))
        ((_, parts),) = _turns(_message("user", video))
        assert parts == [{"fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"}}]

    def test_a_pdf_is_shown_other_files_are_mentioned_or_read_out(self) -> None:
        pdf = FileBlock(name="a.pdf", source=Base64Source(data="AAAA", media_type="application/pdf"))
        text = FileBlock(name="a.txt", source=Base64Source(data="SGk=", media_type="text/plain"))
        ((_, parts),) = _turns(_message("user", pdf, text))
        assert parts[0] == {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}
        assert parts[1]["text"].endswith("\nHi")
        ((_, parts),) = _turns(_message("user", text), tools=[LOOK])
        assert "working directory" in parts[0]["text"]

    def test_in_a_result_is_held_by_it_where_the_model_can(self) -> None:
        result = _message("tool", ToolResultBlock(id="1", name="look", output=[PNG]))
        inline = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}
        ((_, held),) = _turns(result, model=NEW)
        assert held[0]["functionResponse"]["parts"] == [inline]
        assert len(held) == 1
        ((_, after),) = _turns(result, model=OLD)
        assert "parts" not in after[0]["functionResponse"]
        assert after[1:] == [{"text": "[returned by look (1)]"}, inline]


class TestThoughts:
    def test_go_back_to_their_provider_alone(self) -> None:
        said = _message("assistant", _own("Hm."), ThinkingBlock(thinking="Ah.", provider="anthropic"), "Yes.")
        assert _turns(said) == [("model", [{"text": "Hm.", "thought": True}, {"text": "Yes."}])]

    def test_signatures_hang_where_they_hung(self) -> None:
        said = _message(
            "assistant",
            _own("Hm.", signature="t=="),
            _own(signature="a+/=="),
            "Yes.",
            _own(signature="n", metadata={"hung_on": "nothing"}),
            _own(signature="c"),
            _use(),
        )
        ((_, parts),) = _turns(said)
        assert [(next(iter(part)), part.get("thoughtSignature")) for part in parts] == [
            ("text", "t=="),
            ("text", "a+/=="),
            ("text", "n"),
            ("functionCall", "c"),
        ]
        assert (parts[0]["thought"], parts[2]["text"]) == (True, "")

    def test_one_at_the_end_hangs_on_nothing(self) -> None:
        ((_, parts),) = _turns(_message("assistant", "Yes.", _own(signature="s")))
        assert parts == [{"text": "Yes."}, {"text": "", "thoughtSignature": "s"}]

    def test_the_first_call_of_another_model_is_signed_as_foreign_where_signatures_are_required(self) -> None:
        said = _message("assistant", _use("1"), _use("2"))
        assert [part.get("thoughtSignature") for part in _turns(said, model=NEW)[0][1]] == [FOREIGN, None]
        assert [part.get("thoughtSignature") for part in _turns(said, model=OLD)[0][1]] == [None, None]

    def test_parts_that_only_google_has_a_word_for_go_back_as_they_came(self) -> None:
        part = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "x"}
        kept = UnknownBlock.model_validate({"type": "provider_part", "provider": OURS, "part": part})
        other = UnknownBlock.model_validate({"type": "provider_part", "provider": "openai", "part": part})
        assert _turns(_message("assistant", kept, other, "1")) == [("model", [part, {"text": "1"}])]


class TestTools:
    def test_are_declared_with_their_schema(self) -> None:
        idle = ToolSpec(name="idle", description="Idles.", parameters={"type": "object", "properties": {}})
        sent = _body(tools=[LOOK, idle])
        assert sent["tools"] == [
            {
                "functionDeclarations": [
                    {"name": "look", "description": "Looks.", "parametersJsonSchema": LOOK.parameters},
                    {"name": "idle", "description": "Idles."},
                ]
            }
        ]
        assert "toolConfig" not in sent

    @pytest.mark.parametrize(
        ("choice", "config"),
        [
            ("none", {"mode": "NONE"}),
            ("required", {"mode": "ANY"}),
            ("look", {"mode": "ANY", "allowedFunctionNames": ["look"]}),
        ],
    )
    def test_may_be_forbidden_or_required(self, choice: str, config: dict[str, Any]) -> None:
        assert _body(tools=[LOOK], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}


class TestGeneration:
    def test_says_what_is_wanted(self) -> None:
        wanted = {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 9, "seed": 7, "stop": ["x"]}
        assert _body(model="gemini-2.0-flash", generation=wanted)["generationConfig"] == {
            "temperature": 0.5,
            "topP": 0.9,
            "maxOutputTokens": 9,
            "seed": 7,
            "stopSequences": ["x"],
        }

    @pytest.mark.parametrize(
        ("model", "wanted", "config"),
        [
            ("gemini-2.0-flash", "high", None),
            ("gemini-2.5-flash-image", "high", None),
            ("some-other-model", None, None),
            ("gemini-2.5-flash", None, {"includeThoughts": True}),
            ("gemini-2.5-flash", "off", {"thinkingBudget": 0}),
            ("gemini-2.5-pro", "off", {"thinkingBudget": 128}),
            ("gemini-2.5-pro", "high", {"includeThoughts": True, "thinkingBudget": 24576}),
            ("gemini-3-pro-preview", "off", {"thinkingLevel": "low"}),
            ("gemini-3-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "high"}),
            ("models/gemini-3.5-flash", "off", {"thinkingLevel": "minimal"}),
            ("models/gemini-3.5-flash", "medium", {"includeThoughts": True, "thinkingLevel": "medium"}),
        ],
    )
    def test_thinking_is_told_to_those_that_think(self, model: str, wanted: str | None, config: object) -> None:
        sent = _body(model=model, generation={"thinking": wanted})
        assert sent.get("generationConfig", {}).get("thinkingConfig") == config


class TestOutput:
    def test_is_asked_for_by_schema(self) -> None:
        config = _body(output=OUTPUT)["generationConfig"]
        assert config["responseMimeType"] == "application/json"
        assert config["responseJsonSchema"] == OUTPUT["json_schema"]

    def test_beside_tools_is_a_function_for_models_that_have_no_other_way(self) -> None:
        sent = _body(tools=[LOOK], output=OUTPUT, model=OLD)
        assert [each["name"] for each in sent["tools"][0]["functionDeclarations"]] == ["look", "answer"]
        assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
        assert "responseMimeType" not in sent["generationConfig"]
        newer = _body(tools=[LOOK], output=OUTPUT, model=NEW)
        assert [each["name"] for each in newer["tools"][0]["functionDeclarations"]] == ["look"]
        assert newer["generationConfig"]["responseMimeType"] == "application/json"

    def test_that_function_alone_may_be_called_where_tools_may_not(self) -> None:
        config = _body(tools=[LOOK], output=OUTPUT, tool_choice="none")["toolConfig"]["functionCallingConfig"]
        assert config == {"mode": "ANY", "allowedFunctionNames": ["answer"]}

    def test_that_function_takes_what_is_no_object_as_a_value(self) -> None:
        output = {"json_schema": {"type": "array", "items": {"type": "integer"}}, "name": "look"}
        ask = Chat.model_validate(
            {"model": "default", "messages": [_message("user", "Hi.")], "tools": [LOOK], "output": output}
        )
        stand_in = forced(ask, model=OLD)
        assert stand_in is not None
        assert (stand_in.name, stand_in.answer({"value": [1]}), stand_in.answer({"x": 1})) == ("look_", [1], {"x": 1})
        declared = json.loads(body(ask, model=OLD, provider=OURS))["tools"][0]["functionDeclarations"][1]
        assert declared["parametersJsonSchema"]["properties"] == {"value": output["json_schema"]}

    @pytest.mark.parametrize("choice", ["required", "look"])
    def test_is_not_asked_for_where_a_tool_must_be_called(self, choice: str) -> None:
        sent = _body(tools=[LOOK], output=OUTPUT, tool_choice=choice)
        assert len(sent["tools"][0]["functionDeclarations"]) == 1
        assert "responseMimeType" not in sent["generationConfig"]


class TestPath:
    def test_names_model_and_way(self) -> None:
        assert path("gemini-3-pro", stream=False) == "models/gemini-3-pro:generateContent"
        assert path("tunedModels/mine", stream=True) == "tunedModels/mine:streamGenerateContent?alt=sse"

"""Writing messages as input items of the responses API."""

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
from natscope.contracts.model import Chat
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.chat import body as chat_body
from services.model_gateway.wires.dialects import Dialect
from services.model_gateway.wires.responses import body
from services.model_gateway.wires.responses_reply import Draft
from tests.loopback.replies import Reply as Sent
from tests.loopback.responses_wire import response

TOOL = ToolSpec(
    name="look",
    description="Looks.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
)
PNG = Base64Source(data="iVBORw==", media_type="image/png")
WAV = Base64Source(data="UklGRg==", media_type="audio/wav")
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


def _remembered(*messages: Message) -> list[dict[str, Any]]:
    return _items(*messages, model="gpt-5")


def _thought(id: str, text: str = "", sealed: str | None = None, told: str = "summary") -> ThinkingBlock:
    return ThinkingBlock(thinking=text, provider="openai", redacted=sealed, metadata={"id": id, "told": told})


HELLO = _said("user", "Hello?")


class TestContent:
    def test_pictures_sound_and_files_are_parts(self) -> None:
        link = URLSource(url="https://example.com/a.pdf", media_type="application/pdf")
        (item,) = _items(
            _said("user", "See.", ImageBlock(source=PNG), AudioBlock(source=WAV), FileBlock(name="a.pdf", source=link))
        )
        assert item["content"] == [
            {"type": "input_text", "text": "See."},
            {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        ]

    def test_what_the_api_does_not_take_is_said_to_be_left_out(self) -> None:
        film = VideoBlock(source=URLSource(url="https://example.com/a.mp4", media_type="video/mp4"))
        assert "left out" in _items(_said("user", film))[0]["content"]

    def test_a_text_file_is_read_out_unless_there_are_tools_to_open_it(self) -> None:
        file = FileBlock(name="a.txt", source=Base64Source(data="aGk=", media_type="text/plain"))
        assert _items(_said("user", file))[0]["content"] == "[attached file 'a.txt' (text/plain)]\nhi"
        assert "working directory" in _items(_said("user", file), tools=[TOOL])[0]["content"]

    def test_a_picture_that_the_assistant_made_is_shown_by_the_user(self) -> None:
        items = _items(HELLO, _said("assistant", "Here.", ImageBlock(source=PNG)), _said("user", "Bluer."))
        assert [item["role"] for item in items] == ["user", "assistant", "user", "user"]
        assert items[2]["content"][1]["type"] == "input_image"


class TestReasoning:
    def test_is_given_back_as_the_item_that_it_was(self) -> None:
        blocks = [_thought("rs_1", "First.", "opaque=="), _thought("rs_1", "Then."), USE]
        assert _remembered(HELLO, _said("assistant", *blocks))[1:] == [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
                "encrypted_content": "opaque==",
            },
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at":"it"}'},
        ]

    def test_each_item_is_one_of_its_own(self) -> None:
        blocks = [_thought("rs_1", sealed="a=="), _thought("rs_2", sealed="b=="), TextBlock(text="Yes.")]
        assert [item.get("id") for item in _remembered(HELLO, _said("assistant", *blocks))[1:]] == [
            "rs_1",
            "rs_2",
            None,
        ]

    def test_told_in_full_it_is_given_back_in_full(self) -> None:
        assert _remembered(HELLO, _said("assistant", _thought("rs_1", "Hm.", told="content"), "Yes."))[1] == {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
        }

    def test_a_summary_without_what_was_sealed_is_left_out(self) -> None:
        assert _remembered(HELLO, _said("assistant", _thought("rs_1", "Hm."), "Yes."))[1:] == [
            {"role": "assistant", "content": "Yes."}
        ]

    def test_a_summary_alone_goes_back_to_those_that_seal_nothing(self) -> None:
        block = ThinkingBlock(thinking="Hm.", provider="deepseek", metadata={"id": "rs_1", "told": "summary"})
        items = _items(HELLO, _said("assistant", block, USE), provider="deepseek", model="deepseek-v4")
        assert items[1] == {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}

    @pytest.mark.parametrize("provider", ["anthropic", None])
    def test_of_others_is_left_out(self, provider: str | None) -> None:
        block = ThinkingBlock(thinking="Hm.", signature="theirs", redacted="theirs", provider=provider)
        assert _remembered(HELLO, _said("assistant", block, "Yes."))[1:] == [{"role": "assistant", "content": "Yes."}]

    def test_is_not_shown_to_models_that_do_not_reason_nor_where_it_is_not_wanted(self) -> None:
        talk = (HELLO, _said("assistant", _thought("rs_1", sealed="opaque=="), "Yes."))
        assert [item.get("type") for item in _items(*talk, model="gpt-4o")] == [None, None]
        ask = Chat(model="default", messages=list(talk))
        assert b"rs_1" in body(ask, model="gpt-5", provider="openai", stream=False)
        assert b"rs_1" not in body(ask, model="gpt-5", provider="openai", stream=False, thoughts=False)

    def test_phases_are_told_again_as_they_were_told(self) -> None:
        said = _said("assistant", "I look.", "Found.", metadata={"phases": ["commentary", "final_answer"]})
        assert [item["phase"] for item in _items(HELLO, said)[1:]] == ["commentary", "final_answer"]

    def test_phases_that_nobody_told_are_guessed_for_models_that_want_them(self) -> None:
        talk = (HELLO, _said("assistant", "I look.", USE), _said("assistant", "Found."))
        assert [item.get("phase") for item in _items(*talk, model="gpt-5.5") if item.get("role") == "assistant"] == [
            "commentary",
            "final_answer",
        ]
        assert "phase" not in _items(*talk, model="gpt-5")[1]

    def test_comes_back_byte_for_byte_after_a_detour_through_another_provider(self) -> None:
        opaque = 'gAAAA-_+/=\u00e9 \\ "quoted" 世界=='
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": opaque}
        call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{ "at" : "it" }'}
        draft = Draft("openai", "gpt-5")
        draft.whole(json.dumps({**response(Sent()), "output": [item, call]}).encode())
        first = Message.model_validate_json(_said("assistant", *draft.end().content).model_dump_json())
        result = _said("tool", ToolResultBlock(id="call_1", name="look", output=[TextBlock(text="A cat.")]))
        talk = [HELLO, first, result]
        elsewhere = Chat(model="default", messages=talk, tools=[TOOL])
        sent = chat_body(elsewhere, model="m", provider="deepseek", dialect=Dialect(), stream=False)
        assert opaque not in json.dumps(json.loads(sent), ensure_ascii=False)
        talk += [
            _said("assistant", ThinkingBlock(thinking="Hm.", provider="deepseek"), "A cat."),
            _said("user", "Sure?"),
        ]
        assert _items(*talk, model="gpt-5")[1:3] == [item, call]


PICTURE = "aGkh"
WORKS: list[dict[str, Any]] = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "é", "type": "search"}},
    {"type": "mcp_call", "id": "mcp_1", "name": "x", "arguments": '{ "a":1}', "output": None, "server_label": "s"},
    {"type": "compaction", "id": "cmp_1", "encrypted_content": 'gAAA-_+/="\\ \u4e16=='},
    {"type": "image_generation_call", "result": PICTURE, "id": "ig_1", "output_format": "webp"},
    {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "outputs": [
            {"url": f"data:image/png;base64,{PICTURE}", "type": "image"},
            {"type": "logs", "logs": "1"},
            {"type": "image", "url": "https://example.com/a.png"},
        ],
    },
    {"type": "shell_call", "id": "sh_1", "call_id": "c1", "action": {"commands": ["ls"]}},
    {"type": "shell_call_output", "id": "so_1", "call_id": "c1", "output": []},
    {"type": "something_new", "id": "n_1", "of": [1, 2.5, True, None]},
]


def _answered(*items: dict[str, Any], provider: str = "openai") -> Message:
    draft = Draft(provider, "gpt-5")
    draft.whole(json.dumps({**response(Sent()), "output": list(items)}).encode())
    return Message.model_validate_json(_said("assistant", *draft.end().content).model_dump_json())


def _sent(*messages: Message, thoughts: bool = True) -> bytes:
    return body(
        Chat(model="default", messages=list(messages)),
        model="gpt-4o",
        provider="openai",
        stream=False,
        thoughts=thoughts,
    )


class TestToolsOfTheProvider:
    def test_their_work_goes_back_byte_for_byte(self) -> None:
        sent = _sent(HELLO, _answered(*WORKS))
        for item in WORKS:
            assert json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() in sent
        assert [item.get("type") for item in json.loads(sent)["input"][1:]] == [item["type"] for item in WORKS]

    def test_of_another_provider_it_is_left_out_but_its_pictures_are_shown(self) -> None:
        items = json.loads(_sent(HELLO, _answered(*WORKS, provider="azure")))["input"]
        assert [item.get("type", item.get("role")) for item in items] == ["user", "user"]
        assert [part["type"] for part in items[1]["content"]] == ["input_text", *["input_image"] * 3]

    def test_it_is_left_out_where_the_past_is_not_wanted(self) -> None:
        assert b"ws_1" not in _sent(HELLO, _answered(*WORKS), thoughts=False)

    def test_a_call_that_nobody_answered_is_left_out(self) -> None:
        call = {"type": "computer_call", "id": "cu_1", "call_id": "c1", "action": {"type": "screenshot"}}
        assert b"cu_1" not in _sent(HELLO, _answered(call))

    def test_without_its_picture_an_item_is_left_out(self) -> None:
        message = _answered(WORKS[3])
        gone = message.model_copy(update={"content": [message.content[0], TextBlock(text="[cannot be read]")]})
        assert b"ig_1" in _sent(HELLO, message)
        assert b"ig_1" not in _sent(HELLO, gone)

    def test_others_are_not_shown_it(self) -> None:
        ask = Chat(model="default", messages=[HELLO, _answered(WORKS[0], WORKS[2])])
        sent = chat_body(ask, model="m", provider="openai", dialect=Dialect(), stream=False)
        assert b"ws_1" not in sent
        assert b"cmp_1" not in sent

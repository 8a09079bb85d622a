"""Laying a conversation out as turns of the messages API."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

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
from services.model_gateway.wires.messages_turns import system, turns

TOOL = ToolSpec(name="look", description="Looks.", parameters={"type": "object"})
PNG = Base64Source(data="iVBORw==", media_type="image/png")
SHOWN = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}}
THOUGHT = ThinkingBlock(thinking="hm", provider="anthropic", signature="c2ln+/==")
SEALED = ThinkingBlock(thinking="", provider="anthropic", redacted="c2VhbA+/==")
SERVED = UnknownBlock.model_validate(
    {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"q": "é"}], "provider": "anthropic"}
)


def _said(role: Role, *content: ContentBlock | str) -> Message:
    return Message(name=role, role=role, content=[TextBlock(text=b) if isinstance(b, str) else b for b in content])


def _turns(*messages: Message, tools: tuple[ToolSpec, ...] = ()) -> list[dict[str, Any]]:
    return turns(Chat(model="m", messages=list(messages), tools=list(tools)), provider="anthropic")


def _parts(*content: ContentBlock | str, tools: tuple[ToolSpec, ...] = ()) -> list[dict[str, Any]]:
    return _turns(_said("user", *content), tools=tools)[0]["content"]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _use(id: str, **more: Any) -> ToolUseBlock:
    return ToolUseBlock(id=id, name="look", **more)


def _result(id: str, *output: ContentBlock | str, **more: Any) -> ToolResultBlock:
    blocks = [TextBlock(text=each) if isinstance(each, str) else each for each in output]
    return ToolResultBlock(id=id, name="look", output=blocks, **more)


class TestSpeakers:
    def test_the_system_prompt_stands_apart(self) -> None:
        talk = [_said("system", "Be kind."), _said("system", "Be brief."), _said("user", "Hi.")]
        assert system(Chat(model="m", messages=talk)) == [_text("Be kind."), _text("Be brief.")]
        assert _turns(*talk) == [{"role": "user", "content": [_text("Hi.")]}]

    def test_what_the_system_says_later_is_told_in_its_place(self) -> None:
        talk = _turns(_said("user", "Hi."), _said("assistant", "Ho."), _said("system", "Be brief."))
        assert talk[-1] == {"role": "user", "content": [_text("<system>\nBe brief.\n</system>")]}

    def test_what_users_say_one_after_the_other_is_one_turn(self) -> None:
        assert _turns(_said("user", "Hi."), _said("user", "Are you there?")) == [
            {"role": "user", "content": [_text("Hi."), _text("Are you there?")]}
        ]

    def test_the_user_begins_and_has_the_last_word(self) -> None:
        talk = _turns(_said("assistant", "Hi."))
        assert [turn["role"] for turn in talk] == ["user", "assistant", "user"]
        assert _turns() == [talk[0]]

    def test_messages_of_the_assistant_stay_apart(self) -> None:
        talk = _turns(_said("user", "Go."), _said("assistant", "One."), _said("assistant", "Two."))
        assert [turn["role"] for turn in talk] == ["user", "assistant", "user", "assistant", "user"]

    def test_blank_texts_are_nothing_said(self) -> None:
        assert _turns(_said("user", "Hi."), _said("assistant", " \n"), _said("user", "", "Ho.")) == [
            {"role": "user", "content": [_text("Hi."), _text("Ho.")]}
        ]


class TestCalls:
    def test_results_come_first_in_the_order_of_their_calls(self) -> None:
        talk = _turns(
            _said("user", "Look."),
            _said("assistant", "Let me.", _use("a", input={"at": 1}, raw_input='{"at": 1}'), _use("b")),
            _said("user", "Hurry."),
            _said("tool", _result("b", "two")),
            _said("tool", _result("a", "one")),
        )
        assert talk[1:] == [
            {
                "role": "assistant",
                "content": [
                    _text("Let me."),
                    {"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}},
                    {"type": "tool_use", "id": "b", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "one"},
                    {"type": "tool_result", "tool_use_id": "b", "content": "two"},
                    _text("Hurry."),
                ],
            },
        ]

    @pytest.mark.parametrize("after", [[], [_said("user", "Well?")]])
    def test_a_call_without_a_result_gets_one_that_says_so(self, after: list[Message]) -> None:
        lost = _turns(_said("assistant", _use("a")), *after)[-1]["content"][0]
        assert (lost["tool_use_id"], lost["is_error"]) == ("a", True)

    def test_a_result_without_a_call_is_told_in_words(self) -> None:
        parts = _turns(_said("user", "Hi."), _said("tool", _result("z", "lost", ImageBlock(source=PNG))))[0]["content"]
        assert [part["type"] for part in parts] == ["text", "text", "text", "image"]
        assert "(z)" in parts[1]["text"]

    def test_ids_that_occur_twice_or_cannot_be_sent_are_replaced(self) -> None:
        talk = _turns(
            _said("assistant", _use("call:0"), _use("call:0"), _use("")),
            _said("tool", _result("call:0", "1"), _result("call:0", "2"), _result("", "3")),
            _said("assistant", _use("call:0")),
            _said("tool", _result("call:0", "4")),
        )
        asked = [part["id"] for turn in talk[1::2] for part in turn["content"]]
        told = [(part["tool_use_id"], part["content"]) for turn in talk[2::2] for part in turn["content"]]
        assert asked == ["call_0", "call_0_2", "_", "call_0_3"]
        assert told == list(zip(asked, "1234", strict=True))

    def test_arguments_that_are_no_object_go_back_as_they_were_written(self) -> None:
        part = _turns(_said("assistant", _use("a", raw_input='{"at": ')))[1]["content"][0]
        assert part["input"] == {"INVALID_JSON": '{"at": '}

    @pytest.mark.parametrize("state", ["error", "denied", "interrupted", "unknown"])
    def test_a_result_that_is_no_success_says_so(self, state: str) -> None:
        part = _turns(_said("assistant", _use("a")), _said("tool", _result("a", "boom", state=state)))[2]["content"][0]
        assert (part["content"], part["is_error"]) == (f"[{state}]\nboom", True)

    def test_pictures_and_documents_stay_in_their_result(self) -> None:
        pdf = FileBlock(name="a.pdf", source=Base64Source(data="JVBERg==", media_type="application/pdf"))
        talk = _turns(_said("assistant", _use("a")), _said("tool", _result("a", "here", ImageBlock(source=PNG), pdf)))
        content = talk[2]["content"][0]["content"]
        assert [part["type"] for part in content] == ["text", "image", "document"]

    def test_a_failure_shows_its_pictures_after_the_results(self) -> None:
        failed = _result("a", "boom", ImageBlock(source=PNG), state="error")
        parts = _turns(_said("assistant", _use("a"), _use("b")), _said("tool", failed), _said("tool", _result("b")))
        assert [part["type"] for part in parts[2]["content"]] == ["tool_result", "tool_result", "text", "image"]


class TestMedia:
    def test_pictures_are_inline_or_by_their_address(self) -> None:
        far = URLSource(url="https://example.org/a.png", media_type="image/png")
        parts = _parts("See:", ImageBlock(source=PNG), ImageBlock(source=far))
        assert parts[1:] == [SHOWN, {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]

    @pytest.mark.parametrize(("kind", "shown"), [("image/*", "image"), ("", "image"), ("image/svg+xml", "text")])
    def test_a_picture_far_away_is_shown_unless_it_is_said_to_be_of_another_kind(self, kind: str, shown: str) -> None:
        far = URLSource(url="https://example.org/a", media_type=kind)
        assert _parts(ImageBlock(source=far))[0]["type"] == shown

    def test_a_jpeg_by_another_name_is_a_jpeg(self) -> None:
        picture = ImageBlock(source=Base64Source(data="/9j/", media_type="image/JPG; q=1"))
        assert _parts(picture)[0]["source"]["media_type"] == "image/jpeg"

    @pytest.mark.parametrize(
        ("block", "kind"),
        [
            (ImageBlock(source=Base64Source(data="Qk0=", media_type="image/bmp")), "image/bmp"),
            (AudioBlock(source=Base64Source(data="UklGRg==", media_type="audio/wav")), "audio/wav"),
            (VideoBlock(source=URLSource(url="https://example.org/a.mp4", media_type="video/mp4")), "video/mp4"),
            (ImageBlock(source=URLSource(url="nats://blob/media/1", media_type="image/png")), "image/png"),
        ],
    )
    def test_what_the_api_does_not_take_is_told(self, block: ContentBlock, kind: str) -> None:
        (part,) = _parts(block)
        assert part["type"] == "text"
        assert kind in part["text"]

    def test_the_assistants_media_are_told(self) -> None:
        (part,) = _turns(_said("assistant", ImageBlock(source=PNG)))[1]["content"]
        assert "image/png" in part["text"]

    @pytest.mark.parametrize("tools", [(), (TOOL,)])
    def test_a_pdf_is_a_document(self, tools: tuple[ToolSpec, ...]) -> None:
        pdf = FileBlock(name="a.pdf", source=Base64Source(data="JVBERg==", media_type="application/pdf"))
        far = FileBlock(name="b.pdf", source=URLSource(url="https://e.org/b.pdf", media_type="application/pdf"))
        source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
        assert _parts(pdf, far, tools=tools) == [
            {"type": "document", "source": source, "title": "a.pdf"},
            {"type": "document", "source": {"type": "url", "url": "https://e.org/b.pdf"}, "title": "b.pdf"},
        ]

    def test_a_text_file_is_a_document_for_a_model_without_tools(self) -> None:
        file = FileBlock(name="a.csv", source=Base64Source(data="YSxi", media_type="text/csv"))
        source = {"type": "text", "media_type": "text/plain", "data": "a,b"}
        assert _parts(file) == [{"type": "document", "source": source, "title": "a.csv"}]
        (named,) = _parts(file, tools=(TOOL,))
        assert named == _text("[attached file 'a.csv' (text/csv): in the working directory of your tools]")

    def test_a_picture_sent_as_a_file_is_a_picture(self) -> None:
        assert _parts(FileBlock(name="a.png", source=PNG)) == [SHOWN]


class TestThinking:
    def test_goes_back_to_its_writer_byte_for_byte_and_in_its_place(self) -> None:
        (thought, sealed, text, served) = _turns(_said("assistant", THOUGHT, SEALED, "Yes.", SERVED))[1]["content"]
        assert thought == {"type": "thinking", "thinking": "hm", "signature": "c2ln+/=="}
        assert sealed == {"type": "redacted_thinking", "data": "c2VhbA+/=="}
        assert text == _text("Yes.")
        assert served == {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"q": "é"}]}

    @pytest.mark.parametrize(
        "block",
        [
            ThinkingBlock(thinking="hm", provider="openai", signature="x"),
            ThinkingBlock(thinking="hm", signature="x"),
            ThinkingBlock(thinking="unsigned", provider="anthropic"),
            UnknownBlock.model_validate({"type": "compaction", "provider": "openai"}),
        ],
    )
    def test_of_others_or_without_a_signature_is_left_out(self, block: ContentBlock) -> None:
        assert _turns(_said("assistant", block, "Yes."))[1]["content"] == [_text("Yes.")]
        assert len(_turns(_said("user", "Hi."), _said("assistant", block))) == 1


def _media() -> some.SearchStrategy[ContentBlock]:
    kinds = some.sampled_from(["image/png", "image/bmp", "application/pdf", "text/plain", "audio/wav", ""])
    inline = some.builds(Base64Source, data=some.sampled_from(["", "YSxi", "%"]), media_type=kinds)
    far = some.builds(URLSource, url=some.sampled_from(["https://e.org/a", "nats://blob/a/b", ""]), media_type=kinds)
    source = inline | far
    return some.one_of(
        some.builds(ImageBlock, source=source),
        some.builds(AudioBlock, source=source),
        some.builds(VideoBlock, source=source),
        some.builds(FileBlock, name=some.just("a.txt"), source=source),
    )


_IDS = some.text(string.ascii_letters + ":é-", max_size=3)
_TEXT = some.builds(TextBlock, text=some.text(max_size=5))
_BLOCK = some.one_of(
    _TEXT,
    _media(),
    some.sampled_from([THOUGHT, SEALED, SERVED, ThinkingBlock(thinking="x")]),
    some.builds(ToolUseBlock, id=_IDS, name=some.text(max_size=5), raw_input=some.text(max_size=5)),
    some.builds(
        ToolResultBlock,
        id=_IDS,
        name=some.just("look"),
        output=some.lists(_TEXT | _media(), max_size=3),
        state=some.sampled_from(["success", "error", "unknown"]),
    ),
)
_MESSAGES = some.lists(
    some.builds(
        Message,
        name=some.just("x"),
        role=some.sampled_from(["system", "user", "assistant", "tool"]),
        content=some.lists(_BLOCK, max_size=4),
    ),
    max_size=6,
)


class TestEveryConversation:
    @given(_MESSAGES)
    def test_keeps_the_rules_of_the_api(self, messages: list[Message]) -> None:
        talk = _turns(*messages)
        assert [turn["role"] for turn in talk] == ["user", "assistant"] * (len(talk) // 2) + ["user"]
        assert all(turn["content"] for turn in talk)
        ids = [part["id"] for turn in talk for part in turn["content"] if part["type"] == "tool_use"]
        assert len(set(ids)) == len(ids)
        asked: list[str] = []
        for turn in talk:
            answered = [part.get("tool_use_id") for part in turn["content"]]
            if turn["role"] == "user":
                assert answered == [*asked, *[None] * (len(answered) - len(asked))]
            asked = [part["id"] for part in turn["content"] if part["type"] == "tool_use"]

    @given(_MESSAGES, _MESSAGES)
    def test_begins_as_it_began_before_the_assistant_spoke(self, before: list[Message], after: list[Message]) -> None:
        spoken = _said("assistant", "Yes.")
        talk, longer = _turns(*before), _turns(*before, spoken, *after)
        assert longer[: len(talk)] == talk

"""Writing a conversation as a chat completions request."""

import json
from typing import Any

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
from natscope.contracts.tool import ToolSpec
from services.model_gateway.wires.chat import body
from services.model_gateway.wires.dialects import Dialect, dialect

TOOL = ToolSpec(name="look", description="Looks.", parameters={"type": "object", "properties": {}})
PNG = Base64Source(data="iVBORw==", media_type="image/png")


def _body(
    *messages: Message,
    speaks: Dialect | None = None,
    stream: bool = False,
    tools: tuple[ToolSpec, ...] = (),
    tool_choice: str = "auto",
    generation: Generation | None = None,
    agent: str | None = None,
) -> dict[str, Any]:
    ask = Chat(
        model="default",
        messages=list(messages),
        tools=list(tools),
        tool_choice=tool_choice,
        generation=generation or Generation(),
        agent=agent,
    )
    return json.loads(body(ask, model="m-1", provider="openai", dialect=speaks or Dialect(), stream=stream))


def _said(role: Role, *content: ContentBlock | str, name: str | None = None) -> Message:
    blocks = [TextBlock(text=each) if isinstance(each, str) else each for each in content]
    return Message(name=name or role, role=role, content=blocks)


def _turns(*messages: Message, **options: Any) -> list[dict[str, Any]]:
    return _body(*messages, **options)["messages"]


class TestTurns:
    def test_plain_text_is_a_plain_string(self) -> None:
        assert _turns(_said("system", "Be kind."), _said("user", "Hello."), _said("assistant", "Hi.")) == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hi."},
        ]

    def test_several_texts_are_joined(self) -> None:
        assert _turns(_said("user", "one", "two"))[0]["content"] == "one\ntwo"

    def test_a_speaker_with_a_name_of_its_own_is_named(self) -> None:
        turns = _turns(_said("user", "Hi.", name="ann"), _said("assistant", "Ho.", name="bob"), agent="bob")
        assert turns == [
            {"role": "user", "content": "Hi.", "name": "ann"},
            {"role": "assistant", "content": "Ho."},
        ]

    def test_a_name_that_the_api_would_refuse_is_left_out(self) -> None:
        assert "name" not in _turns(_said("user", "Hi.", name="Ann B. <x>"))[0]

    def test_calls_and_results_keep_their_order_and_ids(self) -> None:
        calls = _said(
            "assistant",
            "Let me look.",
            ToolUseBlock(id="a", name="look", input={"at": 1}, raw_input='{"at": 1}'),
            ToolUseBlock(id="b", name="look"),
        )
        results = [
            _said("tool", ToolResultBlock(id=id, name="look", output=[TextBlock(text=text)]))
            for id, text in (("a", "one"), ("b", "two"))
        ]
        assert _turns(_said("user", "Look."), calls, *results)[1:] == [
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
                    {"id": "b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "one"},
            {"role": "tool", "tool_call_id": "b", "content": "two"},
        ]

    def test_a_call_without_words_has_no_content(self) -> None:
        assert _turns(_said("assistant", ToolUseBlock(id="a", name="look")))[0]["content"] is None

    def test_arguments_that_were_no_object_go_back_as_the_model_wrote_them(self) -> None:
        turn = _turns(_said("assistant", ToolUseBlock(id="a", name="look", raw_input='{"at": ')))[0]
        assert turn["tool_calls"][0]["function"]["arguments"] == '{"at": '

    def test_several_results_in_one_message_are_several_turns(self) -> None:
        message = _said("tool", ToolResultBlock(id="a", name="look"), ToolResultBlock(id="b", name="look"))
        assert [turn["tool_call_id"] for turn in _turns(message)] == ["a", "b"]

    def test_a_result_that_is_no_success_says_so(self) -> None:
        result = ToolResultBlock(id="a", name="look", output=[TextBlock(text="boom")], state="error")
        assert _turns(_said("tool", result))[0]["content"] == "[error]\nboom"


class TestMedia:
    def test_an_image_is_a_data_url_or_the_url_itself(self) -> None:
        far = URLSource(url="https://example.org/a.png", media_type="image/png")
        parts = _turns(_said("user", "See:", ImageBlock(source=PNG), ImageBlock(source=far)))[0]["content"]
        assert parts == [
            {"type": "text", "text": "See:"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        ]

    def test_sound_the_api_knows_is_sent_and_other_sound_is_told(self) -> None:
        wav = AudioBlock(source=Base64Source(data="UklGRg==", media_type="audio/wav"))
        ogg = AudioBlock(source=Base64Source(data="T2dnUw==", media_type="audio/ogg"))
        first, second = _turns(_said("user", wav, ogg))[0]["content"]
        assert first == {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
        assert "audio/ogg" in second["text"]

    def test_video_is_told_not_dropped_silently(self) -> None:
        video = VideoBlock(source=URLSource(url="https://example.org/a.mp4", media_type="video/mp4"))
        assert "video/mp4" in _turns(_said("user", video))[0]["content"]

    def test_a_pdf_is_sent_as_a_file(self) -> None:
        pdf = FileBlock(name="a.pdf", source=Base64Source(data="JVBERg==", media_type="application/pdf"))
        file = _turns(_said("user", pdf), tools=(TOOL,))[0]["content"][0]["file"]
        assert file == {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}

    def test_another_file_is_named_where_tools_can_open_it(self) -> None:
        file = FileBlock(name="a.csv", source=Base64Source(data="YSxi", media_type="text/csv"))
        content = _turns(_said("user", "Read it.", file), tools=(TOOL,))[0]["content"]
        assert content == "Read it.\n[attached file 'a.csv' (text/csv): in the working directory of your tools]"

    def test_a_text_file_is_read_out_to_a_model_without_tools(self) -> None:
        file = FileBlock(name="a.csv", source=Base64Source(data="YSxi", media_type="text/csv"))
        assert _turns(_said("user", file))[0]["content"] == "[attached file 'a.csv' (text/csv)]\na,b"

    def test_media_in_results_is_shown_after_the_last_result_in_a_row(self) -> None:
        picture = ToolResultBlock(id="a", name="look", output=[TextBlock(text="here"), ImageBlock(source=PNG)])
        turns = _turns(
            _said("assistant", ToolUseBlock(id="a", name="look"), ToolUseBlock(id="b", name="look")),
            _said("tool", picture),
            _said("tool", ToolResultBlock(id="b", name="look")),
            _said("user", "And?"),
        )
        assert [turn["role"] for turn in turns] == ["assistant", "tool", "tool", "user", "user"]
        assert turns[1]["content"] == "here\n[image (image/png): see the next message]"
        assert turns[3]["content"] == [
            {"type": "text", "text": "[returned by look (a)]"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        ]


class TestThinking:
    MESSAGE = _said("assistant", ThinkingBlock(thinking="hm", provider="openai"), "Yes.")

    def test_is_left_out_by_default(self) -> None:
        assert _turns(self.MESSAGE) == [{"role": "assistant", "content": "Yes."}]

    def test_goes_back_to_its_writer_where_the_dialect_has_a_field_for_it(self) -> None:
        turn = _turns(self.MESSAGE, speaks=dialect("deepseek"))[0]
        assert turn["reasoning_content"] == "hm"

    def test_does_not_go_to_anybody_else(self) -> None:
        foreign = _said("assistant", ThinkingBlock(thinking="hm", provider="other"), "Yes.")
        assert "reasoning_content" not in _turns(foreign, speaks=dialect("deepseek"))[0]


class TestOptions:
    def test_what_is_not_wanted_is_not_said(self) -> None:
        assert _body(_said("user", "Hi.")) == {"model": "m-1", "messages": [{"role": "user", "content": "Hi."}]}

    def test_tools_are_functions(self) -> None:
        assert _body(_said("user", "Hi."), tools=(TOOL,))["tools"] == [
            {
                "type": "function",
                "function": {"name": "look", "description": "Looks.", "parameters": TOOL.parameters},
            }
        ]

    def test_a_named_tool_must_be_called(self) -> None:
        sent = _body(_said("user", "Hi."), tools=(TOOL,), tool_choice="look")
        assert sent["tool_choice"] == {"type": "function", "function": {"name": "look"}}
        assert _body(_said("user", "Hi."), tools=(TOOL,), tool_choice="none")["tool_choice"] == "none"

    def test_generation_is_named_in_the_dialect(self) -> None:
        wanted = Generation(temperature=0.0, top_p=0.5, max_output_tokens=9, seed=1, stop=["\n"])
        sent = _body(_said("user", "Hi."), generation=wanted)
        assert {name: sent[name] for name in ("temperature", "top_p", "max_completion_tokens", "seed", "stop")} == {
            "temperature": 0.0,
            "top_p": 0.5,
            "max_completion_tokens": 9,
            "seed": 1,
            "stop": ["\n"],
        }
        older = _body(_said("user", "Hi."), generation=wanted, speaks=Dialect(max_tokens_field="max_tokens"))
        assert older["max_tokens"] == 9

    def test_a_stream_ends_with_its_usage_where_that_may_be_asked(self) -> None:
        assert _body(_said("user", "Hi."), stream=True)["stream_options"] == {"include_usage": True}
        assert "stream_options" not in _body(_said("user", "Hi."), stream=True, speaks=Dialect(stream_usage=False))

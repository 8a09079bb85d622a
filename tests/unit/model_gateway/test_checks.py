"""Refusing what no provider can answer: a typed error that names it."""

import pytest
from pydantic import JsonValue

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
    VideoBlock,
)
from natscope.contracts.errors import BodyInvalid, ContextTooLong, ModalityUnsupported, SchemaInvalid
from natscope.contracts.message import Message, Role
from natscope.contracts.model import Chat, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.checks import check_ask, check_modalities, check_size, schema_fault

HELLO = TextBlock(text="Hello.")


def _said(role: Role, *content: ContentBlock) -> Message:
    return Message(name=role, role=role, content=list(content))


def _call(id: str) -> ToolUseBlock:
    return ToolUseBlock(id=id, name="look")


def _result(id: str) -> ToolResultBlock:
    return ToolResultBlock(id=id, name="look", output=[TextBlock(text="seen")])


def _tool(name: str = "look", parameters: dict[str, JsonValue] | None = None) -> ToolSpec:
    return ToolSpec(name=name, description="Looks.", parameters=parameters or {})


def _ask(*messages: Message, tools: list[ToolSpec] | None = None, choice: str = "auto") -> Chat:
    return Chat(model="m", messages=list(messages), tools=tools or [], tool_choice=choice)


def _source(media_type: str) -> Base64Source:
    return Base64Source(data="AAAA", media_type=media_type)


class TestContent:
    def test_no_message_at_all_is_refused(self) -> None:
        with pytest.raises(BodyInvalid, match="no message"):
            check_ask(_ask())

    @pytest.mark.parametrize("content", [[], [TextBlock(text="")], [TextBlock(text=" \n")]])
    def test_a_users_message_that_says_nothing_is_named(self, content: list[ContentBlock]) -> None:
        with pytest.raises(BodyInvalid, match=r"message 1 \(user 'user'\) has no content"):
            check_ask(_ask(_said("user", HELLO), _said("user", *content)))

    @pytest.mark.parametrize("role", ["system", "assistant", "tool"])
    def test_a_message_without_a_block_is_refused_whoever_wrote_it(self, role: Role) -> None:
        with pytest.raises(BodyInvalid, match="has no content"):
            check_ask(_ask(_said("user", HELLO), _said(role)))

    def test_an_agent_may_have_an_empty_prompt_and_a_model_may_say_nothing(self) -> None:
        blank = TextBlock(text="")
        check_ask(_ask(_said("system", blank), _said("user", HELLO), _said("assistant", blank), _said("user", HELLO)))

    def test_a_picture_or_a_thought_alone_is_content(self) -> None:
        image = ImageBlock(source=_source("image/png"))
        check_ask(_ask(_said("user", image), _said("assistant", ThinkingBlock(thinking="Hm.")), _said("user", HELLO)))


class TestCalls:
    def test_each_with_its_result_pass_also_in_parallel_and_with_ids_used_again(self) -> None:
        talk = [_said("assistant", _call("1"), _call("2")), _said("tool", _result("2"), _result("1"))]
        check_ask(_ask(_said("user", HELLO), *talk, *talk))

    def test_others_may_speak_between_a_call_and_its_result(self) -> None:
        check_ask(_ask(_said("assistant", _call("1")), _said("user", HELLO), _said("tool", _result("1"))))

    def test_a_result_without_its_call_is_named(self) -> None:
        with pytest.raises(BodyInvalid, match=r"message 1 .* result of call 'x'"):
            check_ask(_ask(_said("user", HELLO), _said("tool", _result("x"))))

    def test_a_result_before_its_call_is_none(self) -> None:
        with pytest.raises(BodyInvalid, match="'1'"):
            check_ask(_ask(_said("tool", _result("1")), _said("assistant", _call("1"))))

    def test_a_second_result_is_named(self) -> None:
        with pytest.raises(BodyInvalid, match="'1'"):
            check_ask(_ask(_said("assistant", _call("1")), _said("tool", _result("1"), _result("1"))))

    def test_a_call_without_its_result_is_named(self) -> None:
        with pytest.raises(BodyInvalid, match=r"call 'b' in message 0 .* has no result"):
            check_ask(_ask(_said("assistant", _call("a"), _call("b")), _said("tool", _result("a"))))

    def test_two_open_calls_of_one_id_are_named(self) -> None:
        with pytest.raises(BodyInvalid, match="call id '1' is used twice"):
            check_ask(_ask(_said("assistant", _call("1"), _call("1")), _said("tool", _result("1"))))


class TestTools:
    @pytest.mark.parametrize("choice", ["auto", "none", "required", "look"])
    def test_every_choice_there_is_passes(self, choice: str) -> None:
        check_ask(_ask(_said("user", HELLO), tools=[_tool()], choice=choice))

    @pytest.mark.parametrize("choice", ["auto", "none"])
    def test_no_tool_is_needed_where_none_must_be_called(self, choice: str) -> None:
        check_ask(_ask(_said("user", HELLO), choice=choice))

    def test_a_choice_that_is_not_offered_is_named_with_those_that_are(self) -> None:
        with pytest.raises(BodyInvalid, match="'peek'") as caught:
            check_ask(_ask(_said("user", HELLO), tools=[_tool()], choice="peek"))
        assert "'look'" in (caught.value.remedy or "")

    @pytest.mark.parametrize("choice", ["required", "look"])
    def test_a_call_cannot_be_required_without_a_tool(self, choice: str) -> None:
        with pytest.raises(BodyInvalid):
            check_ask(_ask(_said("user", HELLO), choice=choice))

    def test_two_of_one_name_are_named(self) -> None:
        with pytest.raises(BodyInvalid, match="'look'"):
            check_ask(_ask(_said("user", HELLO), tools=[_tool(), _tool("peek"), _tool()]))


class TestSchemas:
    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"type": "object"},
            {"type": ["object", "null"]},
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}},
            {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "definitions": {}},
            {"type": "object", "properties": {"a": {"type": "string", "nullable": True, "x-order": 1}}},
        ],
    )
    def test_that_are_some_pass(self, parameters: dict[str, JsonValue]) -> None:
        check_ask(_ask(_said("user", HELLO), tools=[_tool(parameters=parameters)]))

    @pytest.mark.parametrize(
        ("parameters", "place"),
        [
            ({"type": "objekt"}, "/type"),
            ({"type": "object", "properties": {"a": {"type": "text"}}}, "/properties/a/type"),
            ({"type": "object", "properties": []}, "/properties"),
            ({"type": "object", "required": "a"}, "/required"),
            ({"type": "object", "properties": {"a": {"pattern": "("}}}, "/properties/a/pattern"),
            ({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}, "does not exist"),
            ({"$schema": "https://example.org/mine", "type": "object"}, "https://example.org/mine"),
            ({"type": "string"}, "/type"),
        ],
    )
    def test_that_are_none_are_named_with_tool_and_place(self, parameters: dict[str, JsonValue], place: str) -> None:
        with pytest.raises(SchemaInvalid, match="tool 'peek'") as caught:
            check_ask(_ask(_said("user", HELLO), tools=[_tool(), _tool("peek", parameters)]))
        assert place in caught.value.message
        assert "tools[1]" in (caught.value.remedy or "")

    def test_of_the_output_is_named(self) -> None:
        output = Output(name="verdict", json_schema={"type": "objekt"})
        with pytest.raises(SchemaInvalid, match=r"output 'verdict'.*/type"):
            check_ask(_ask(_said("user", HELLO)).model_copy(update={"output": output}))

    def test_of_the_output_may_be_of_any_type(self) -> None:
        check_ask(_ask(_said("user", HELLO)).model_copy(update={"output": Output(json_schema={"type": "array"})}))

    def test_nothing_outside_of_a_schema_is_looked_up(self) -> None:
        for address in ("http://127.0.0.1:9/schema", "file:///etc/hostname"):
            assert "Retrieval is disabled" in str(schema_fault({"$ref": address}))


class TestModalities:
    @pytest.mark.parametrize(
        ("block", "kind"),
        [
            (ImageBlock(source=_source("image/png")), "image"),
            (AudioBlock(source=_source("audio/wav")), "audio"),
            (VideoBlock(source=_source("video/mp4")), "video"),
            (FileBlock(name="a.pdf", source=_source("application/pdf")), "file"),
        ],
    )
    def test_media_that_the_model_does_not_take_is_named(self, block: ContentBlock, kind: str) -> None:
        ask = _ask(_said("user", HELLO), _said("user", HELLO, block))
        with pytest.raises(ModalityUnsupported, match=f"'m-1' takes no {kind}, but message 1") as caught:
            check_modalities(ask, model="m-1", takes=("text",))
        assert caught.value.details["modality"] == kind

    def test_media_that_it_takes_passes_and_so_does_all_if_nobody_knows(self) -> None:
        ask = _ask(_said("user", ImageBlock(source=_source("image/png"))))
        check_modalities(ask, model="m-1", takes=("text", "image"))
        check_modalities(ask, model="m-1", takes=None)

    def test_a_file_for_the_tools_or_one_that_can_be_read_out_passes(self) -> None:
        table = FileBlock(name="a.csv", source=_source("text/csv"))
        check_modalities(_ask(_said("user", table)), model="m-1", takes=("text",))
        report = FileBlock(name="a.pdf", source=_source("application/pdf"))
        check_modalities(_ask(_said("user", report), tools=[_tool()]), model="m-1", takes=("text",))

    def test_what_a_tool_returned_passes(self) -> None:
        shown = ToolResultBlock(id="1", name="look", output=[ImageBlock(source=_source("image/png"))])
        check_modalities(_ask(_said("assistant", _call("1")), _said("tool", shown)), model="m-1", takes=("text",))


class TestSize:
    def test_a_prompt_that_is_clearly_over_the_window_is_told_in_numbers(self) -> None:
        with pytest.raises(ContextTooLong, match=r"about 9,000 tokens.*'m-1' is 8,000") as caught:
            check_size(9000, model="m-1", context_size=8000)
        assert caught.value.details == {"estimated_tokens": 9000, "context_size": 8000}

    @pytest.mark.parametrize(("estimate", "window"), [(8000, 8000), (8100, 8000), (10**9, None)])
    def test_one_that_may_fit_passes(self, estimate: int, window: int | None) -> None:
        check_size(estimate, model="m-1", context_size=window)

"""Mending what an earlier run left half told."""

from natscope.contracts.blocks import ContentBlock, TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.contract import Instant
from natscope.contracts.message import Message, Role
from services.agent.mending import mended


def _said(role: Role, *content: ContentBlock) -> Message:
    return Message(name=role, role=role, content=list(content))


def _call(id: str) -> ToolUseBlock:
    return ToolUseBlock(id=id, name="look")


def _result(id: str) -> ToolResultBlock:
    return ToolResultBlock(id=id, name="look", output=[TextBlock(text="seen")])


HELLO = _said("user", TextBlock(text="Hello."))


class TestMended:
    def test_a_whole_conversation_stays_as_it_is(self) -> None:
        past = [HELLO, _said("assistant", _call("1"), _call("2")), _said("tool", _result("1"), _result("2")), HELLO]
        assert mended(past) == past

    def test_a_call_without_a_result_gets_one_of_state_unknown_behind_it(self) -> None:
        past = [HELLO, _said("assistant", _call("1")), HELLO]
        found = mended(past)
        assert [message.role for message in found] == ["user", "assistant", "tool", "user"]
        result = found[2].content[0]
        assert isinstance(result, ToolResultBlock)
        assert (result.id, result.name, result.state) == ("1", "look", "unknown")
        created: Instant = past[1].created_at
        assert found[2].created_at == created

    def test_an_id_that_a_later_call_has_again_does_not_hide_it(self) -> None:
        past = [_said("assistant", _call("1")), _said("assistant", _call("1")), _said("tool", _result("1"))]
        assert [message.role for message in mended(past)] == ["assistant", "tool", "assistant", "tool"]

    def test_is_the_same_each_time(self) -> None:
        past = [_said("assistant", _call("1"))]
        assert mended(past) == mended(past)

    def test_a_users_blank_message_is_left_out_and_an_assistants_is_not(self) -> None:
        blank = TextBlock(text=" \n")
        past = [_said("user", blank), _said("user"), HELLO, _said("assistant", blank)]
        assert [message.role for message in mended(past)] == ["user", "assistant"]

"""Putting results behind their calls."""

from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.blocks import ContentBlock, TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.message import Message, Role
from services.model_gateway.wires.paired import paired


def _said(role: Role, *content: ContentBlock | str) -> Message:
    return Message(name=role, role=role, content=[TextBlock(text=c) if isinstance(c, str) else c for c in content])


def _call(id: str) -> ToolUseBlock:
    return ToolUseBlock(id=id, name="look")


def _result(id: str) -> ToolResultBlock:
    return ToolResultBlock(id=id, name="look")


def _told(messages: list[Message]) -> list[tuple[str, list[str]]]:
    return [
        (m.role, [b.text if isinstance(b, TextBlock) else getattr(b, "id", b.type) for b in m.content])
        for m in messages
    ]


class TestPaired:
    def test_what_is_in_order_stays_the_same(self) -> None:
        messages = [_said("assistant", _call("a"), _call("b")), _said("tool", _result("a"), _result("b"))]
        assert paired(messages) is messages

    def test_results_in_messages_of_their_own_are_in_order(self) -> None:
        messages = [
            _said("assistant", _call("a"), _call("b")),
            _said("tool", _result("b")),
            _said("tool", _result("a")),
        ]
        assert paired(messages) is messages

    def test_what_was_said_in_between_comes_after(self) -> None:
        messages = [_said("assistant", _call("a")), _said("user", "Hurry!"), _said("tool", _result("a"))]
        assert _told(paired(messages)) == [("assistant", ["a"]), ("tool", ["a"]), ("user", ["Hurry!"])]

    def test_what_stands_beside_a_result_stays_behind_it(self) -> None:
        messages = [_said("assistant", _call("a")), _said("user", "So:", _result("a"))]
        assert _told(paired(messages)) == [("assistant", ["a"]), ("tool", ["a"]), ("user", ["So:"])]

    def test_an_id_may_be_used_again(self) -> None:
        messages = [
            _said("assistant", _call("a")),
            _said("user", "one"),
            _said("tool", _result("a")),
            _said("assistant", _call("a")),
            _said("tool", _result("a")),
        ]
        assert [role for role, _ in _told(paired(messages))] == ["assistant", "tool", "user", "assistant", "tool"]

    @given(st.lists(st.sampled_from(["call a", "call b", "result a", "result b", "text"]), max_size=12))
    def test_nothing_is_lost_and_nothing_is_made_up(self, words: list[str]) -> None:
        kinds = {"call": _call, "result": _result}
        messages = [
            _said("assistant", kinds[w.split()[0]](w.split()[1])) if " " in w else _said("user", w) for w in words
        ]
        before = sorted(str(b) for m in messages for b in m.content)
        assert sorted(str(b) for m in paired(messages) for b in m.content) == before

"""What of a conversation is given to a model."""

from hypothesis import given, settings
from hypothesis import strategies as st

from natscope.contracts.blocks import (
    Base64Source,
    ContentBlock,
    ImageBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from natscope.contracts.message import Message
from services.memory.cut import Piece, cut, tokens_of


def _says(text: str) -> Message:
    return Message(name="ann", role="user", content=[TextBlock(text=text)])


def _calls(*ids: str) -> Message:
    blocks: list[ContentBlock] = [ToolUseBlock(id=id, name="add", raw_input="{}") for id in ids]
    return Message(name="bot", role="assistant", content=blocks)


def _results(*ids: str) -> Message:
    blocks: list[ContentBlock] = [ToolResultBlock(id=id, name="add") for id in ids]
    return Message(name="add", role="tool", content=blocks)


def _cut(messages: list[Message], last: int | None = None, token_budget: int | None = None) -> list[Message]:
    return cut([Piece(message) for message in messages], last=last, token_budget=token_budget)


class TestTokens:
    def test_text_counts_as_utf_8_bytes_by_four_rounded_up(self) -> None:
        assert [tokens_of(_says(text)) for text in ("", "a", "abcd", "abcde", "ééé")] == [0, 1, 1, 2, 2]

    def test_each_media_block_counts_as_two_thousand_also_inside_a_result(self) -> None:
        image = ImageBlock(source=Base64Source(data="AAAA", media_type="image/png"))
        result = ToolResultBlock(id="c", name="", output=[image, TextBlock(text="abcd")])
        assert tokens_of(Message(name="t", role="tool", content=[result, image])) == 4_001

    def test_a_call_counts_its_name_and_its_arguments(self) -> None:
        call = ToolUseBlock(id="c", name="add", input={"a": 1})
        assert tokens_of(Message(name="b", role="assistant", content=[call])) == 3


class TestTheLast:
    def test_the_newest_are_kept_in_their_order(self) -> None:
        messages = [_says(str(number)) for number in range(5)]
        assert _cut(messages, last=2) == messages[3:]

    def test_without_limits_all_are_kept(self) -> None:
        messages = [_says("a"), _calls("c"), _results("c")]
        assert _cut(messages) == messages

    def test_none_are_wanted(self) -> None:
        assert _cut([_says("a")], last=0) == []
        assert _cut([_says("a")], token_budget=0) == []

    def test_a_message_is_whole_or_not_there(self) -> None:
        messages = [_says("a" * 40), _says("b" * 40)]
        assert _cut(messages, token_budget=19) == messages[1:]
        assert _cut(messages, token_budget=20) == messages

    def test_both_limits_hold(self) -> None:
        messages = [_says("a" * 40) for _ in range(9)]
        assert len(_cut(messages, last=5, token_budget=30)) == 3
        assert len(_cut(messages, last=2, token_budget=30)) == 2


class TestToolCalls:
    def test_a_result_is_not_there_without_its_call(self) -> None:
        messages = [_calls("c"), _results("c"), _says("done")]
        assert _cut(messages, last=2) == messages[2:]
        assert _cut(messages, last=3) == messages

    def test_a_call_is_not_there_without_all_of_its_results(self) -> None:
        """Results stand in two messages; one is left out, so the other and the call are too."""
        messages = [_calls("c"), _calls("d"), _results("c", "d"), _says("done")]
        assert _cut(messages, last=3) == messages[3:]

    def test_what_stands_between_a_call_and_its_result_stays(self) -> None:
        messages = [_calls("c"), _says("heard meanwhile"), _results("c"), _says("done")]
        assert _cut(messages, last=3) == [messages[1], messages[3]]

    def test_the_same_id_in_two_turns_belongs_to_the_nearest_call(self) -> None:
        messages = [_calls("c"), _results("c"), _calls("c"), _results("c")]
        assert _cut(messages, last=2) == messages[2:]

    def test_a_call_that_has_no_result_yet_stays(self) -> None:
        messages = [_says("do"), _calls("c")]
        assert _cut(messages, last=1) == messages[1:]

    def test_a_result_whose_call_is_nowhere_is_left_out(self) -> None:
        messages = [_says("a"), _results("c"), _says("b")]
        assert _cut(messages) == [messages[0], messages[2]]

    def test_a_call_in_a_hub_is_not_answered_by_a_result_in_the_session(self) -> None:
        pieces = [Piece(_calls("c"), "team"), Piece(_results("c"))]
        assert cut(pieces) == [pieces[0].message]


_IDS = st.sampled_from("cde")
_MESSAGES = st.lists(
    st.one_of(
        st.text("ab é", max_size=20).map(_says),
        st.lists(_IDS, min_size=1, max_size=2, unique=True).map(lambda ids: _calls(*ids)),
        st.lists(_IDS, min_size=1, max_size=2, unique=True).map(lambda ids: _results(*ids)),
    ),
    max_size=14,
)
_LIMIT = st.none() | st.integers(0, 16)


def _edges(messages: list[Message]) -> tuple[list[tuple[int, int]], set[int]]:
    """Return each call's and result's positions, and the positions of results without a call."""
    calls: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    orphans: set[int] = set()
    for index, message in enumerate(messages):
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                calls[block.id] = index
            elif isinstance(block, ToolResultBlock) and block.id in calls:
                pairs.append((calls[block.id], index))
            elif isinstance(block, ToolResultBlock):
                orphans.add(index)
    return pairs, orphans


class TestAnyConversation:
    @settings(deadline=None)
    @given(_MESSAGES, _LIMIT, st.none() | st.integers(0, 40))
    def test_what_is_kept_is_within_the_limits_and_in_order(
        self, messages: list[Message], last: int | None, budget: int | None
    ) -> None:
        kept = _cut(messages, last, budget)
        assert [message for message in messages if message in kept] == kept
        assert last is None or len(kept) <= last
        assert budget is None or sum(map(tokens_of, kept)) <= budget

    @settings(deadline=None)
    @given(_MESSAGES, _LIMIT, st.none() | st.integers(0, 40))
    def test_calls_and_results_stay_or_go_together(
        self, messages: list[Message], last: int | None, budget: int | None
    ) -> None:
        kept = {messages.index(message) for message in _cut(messages, last, budget)}
        pairs, orphans = _edges(messages)
        assert all((call in kept) == (result in kept) for call, result in pairs)
        assert not kept & orphans

    @settings(deadline=None)
    @given(_MESSAGES, _LIMIT)
    def test_nothing_that_fits_is_left_out_but_for_a_half_call(self, messages: list[Message], last: int | None) -> None:
        start = 0 if last is None else max(len(messages) - last, 0)
        pairs, orphans = _edges(messages)
        gone = set(range(start)) | orphans
        while more := {side for pair in pairs for side in pair if gone & set(pair)} - gone:
            gone |= more
        assert _cut(messages, last) == [message for index, message in enumerate(messages) if index not in gone]

    @settings(deadline=None)
    @given(_MESSAGES)
    def test_a_wider_limit_keeps_at_least_as_much_of_the_end(self, messages: list[Message]) -> None:
        assert all(len(_cut(messages, n)) <= len(_cut(messages)) for n in range(len(messages) + 1))

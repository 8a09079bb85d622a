"""Sessions and hubs together, as they are asked."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natscope.contracts import hub
from natscope.contracts import memory as ask
from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.errors import BodyInvalid, HubNotFound, SessionNotFound
from natscope.contracts.memory import Position
from natscope.contracts.message import Message
from services.memory.memory import Memory
from tests.unit.memory.fakes import Written


def _message(text: str, *, id: str | None = None, name: str = "ann") -> Message:
    return Message(id=id or text, name=name, role="user", content=[TextBlock(text=text)])


async def _append(kept: Memory, session: str, *texts: str) -> ask.Appended:
    return await kept.append(ask.Append(session=session, messages=[_message(text) for text in texts]))


async def _recall(kept: Memory, session: str, **limits: Any) -> list[str]:
    recalled = await kept.recall(ask.Recall(session=session, **limits))
    return [message.text for message in recalled.messages]


async def _join(kept: Memory, session: str, name: str = "team") -> hub.Member:
    return (await kept.join(hub.Join(hub=name, session=session, agent=f"agent-{session}"))).member


def _say(
    written: Written, text: str, *, session: str | None = None, name: str = "team", message: Message | None = None
) -> int:
    said = hub.Said(message=message or _message(text, name=session or "somebody"), session=session)
    return written.said.put(name, said.model_dump_json().encode())


class TestRecall:
    async def test_a_session_that_does_not_exist_is_empty(self, memory: Memory) -> None:
        assert await _recall(memory, "nobody") == []

    async def test_the_newest_messages_are_given_and_the_others_counted(self, memory: Memory) -> None:
        await _append(memory, "s", "a", "b", "c")
        await _append(memory, "s", "d")
        recalled = await memory.recall(ask.Recall(session="s", last=2))
        assert [message.text for message in recalled.messages] == ["c", "d"]
        assert recalled.dropped == 2

    async def test_a_long_session_counts_what_was_not_even_read(self, written: Written) -> None:
        writer = written.replica()
        for number in range(500):
            await _append(writer, "s", f"{number}a", f"{number}b")
        for kept in (writer, written.replica()):
            recalled = await kept.recall(ask.Recall(session="s", last=3))
            assert [message.text for message in recalled.messages] == ["498b", "499a", "499b"]
            assert recalled.dropped == 997

    async def test_the_budget_is_filled_and_not_exceeded(self, memory: Memory) -> None:
        for number in range(300):
            await _append(memory, "s", f"{number:04}")
        for budget in (0, 1, 7, 200, 299, 300, 301):
            assert await _recall(memory, "s", token_budget=budget) == [
                f"{n:04}" for n in range(300 - min(budget, 300), 300)
            ]

    async def test_a_tool_call_is_recalled_whole_or_not_at_all(self, memory: Memory) -> None:
        call = Message(name="bot", role="assistant", content=[ToolUseBlock(id="c", name="add")])
        result = Message(name="add", role="tool", content=[ToolResultBlock(id="c", name="add")])
        await memory.append(ask.Append(session="s", messages=[call, result, _message("done")]))
        assert len((await memory.recall(ask.Recall(session="s", last=2))).messages) == 1
        assert len((await memory.recall(ask.Recall(session="s", last=3))).messages) == 3

    @settings(deadline=None, max_examples=50)
    @given(st.integers(1, 30), st.none() | st.integers(0, 12), st.none() | st.integers(0, 30))
    async def test_upto_a_position_is_the_same_again_whatever_came_since(
        self, before: int, last: int | None, budget: int | None
    ) -> None:
        written = Written()
        kept = written.replica()
        await _join(kept, "s")
        for number in range(before):
            if number % 3:
                await _append(kept, "s", f"own {number}")
            else:
                _say(written, f"heard {number}")
        first = await kept.recall(ask.Recall(session="s", last=last, token_budget=budget))
        await _append(kept, "s", "later")
        _say(written, "later still")
        await _join(kept, "s", "another")
        _say(written, "elsewhere", name="another")
        await kept.leave(hub.Leave(hub="team", session="s"))
        for replica in (kept, written.replica()):
            again = await replica.recall(ask.Recall(session="s", last=last, token_budget=budget, upto=first.position))
            assert again.messages == first.messages
            assert again.position == first.position


class TestHearing:
    async def test_members_hear_each_other_and_not_themselves(self, memory: Memory, written: Written) -> None:
        await _join(memory, "one")
        await _join(memory, "two")
        _say(written, "hello", session="one")
        _say(written, "hi", session="two")
        assert await _recall(memory, "one") == ["hi"]
        assert await _recall(memory, "two") == ["hello"]

    async def test_who_joins_later_hears_from_then_on(self, memory: Memory, written: Written) -> None:
        await _join(memory, "one")
        _say(written, "before")
        await _join(memory, "late")
        _say(written, "after")
        assert await _recall(memory, "one") == ["before", "after"]
        assert await _recall(memory, "late") == ["after"]

    async def test_own_and_heard_stand_in_the_order_they_were_said(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s")
        await _append(memory, "s", "1")
        _say(written, "2")
        await _append(memory, "s", "3")
        _say(written, "4")
        assert await _recall(memory, "s") == ["1", "2", "3", "4"]
        assert await _recall(memory, "s", last=3) == ["2", "3", "4"]

    async def test_thoughts_of_others_are_not_heard(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s")
        thought = ThinkingBlock(thinking="hm")
        _say(written, "", message=Message(name="bot", role="assistant", content=[thought, TextBlock(text="yes")]))
        _say(written, "", message=Message(name="bot", role="assistant", content=[thought]))
        recalled = await memory.recall(ask.Recall(session="s"))
        assert [message.content for message in recalled.messages] == [[TextBlock(text="yes")]]

    async def test_ones_own_thoughts_are_recalled(self, memory: Memory) -> None:
        own = Message(name="bot", role="assistant", content=[ThinkingBlock(thinking="hm")])
        await memory.append(ask.Append(session="s", messages=[own]))
        assert (await memory.recall(ask.Recall(session="s"))).messages == [own]

    async def test_what_is_said_in_two_hubs_at_once_is_heard_once(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s", "team")
        await _join(memory, "s", "other")
        same = _message("same")
        _say(written, "", message=same)
        _say(written, "", message=same, name="other")
        assert await _recall(memory, "s") == ["same"]

    @pytest.mark.parametrize("body", [b"plain text", b'{"broken', b'{"message": 3}', b"42", b"\xff\xfe", b'["a"]'])
    async def test_whatever_is_published_by_hand_is_a_guests_word(
        self, memory: Memory, written: Written, body: bytes
    ) -> None:
        await _join(memory, "s")
        written.said.put("team", body)
        _say(written, "next")
        first, second = (await memory.recall(ask.Recall(session="s"))).messages
        assert (first.name, first.role, first.text) == ("guest", "user", body.decode(errors="replace"))
        assert second.text == "next"

    async def test_a_guests_word_has_the_same_id_each_time(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s")
        written.said.put("team", b"hello")
        first, second = [(await memory.recall(ask.Recall(session="s"))).messages for _ in range(2)]
        assert first == second

    async def test_an_empty_body_says_nothing(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s")
        written.said.put("team", b"")
        written.said.put("team", b"  \n")
        assert await _recall(memory, "s") == []

    async def test_of_a_long_hub_only_the_newest_is_read(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s")
        for number in range(3_000):
            _say(written, f"{number}", session="s" if number % 2 else None)
        written.said.given = 0
        recalled = await memory.recall(ask.Recall(session="s", last=4))
        assert [message.text for message in recalled.messages] == ["2992", "2994", "2996", "2998"]
        assert written.said.given < 200

    async def test_what_was_heard_before_leaving_stays_heard(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s")
        _say(written, "1")
        assert (await memory.leave(hub.Leave(hub="team", session="s"))).was_member
        _say(written, "2")
        await _join(memory, "s")
        _say(written, "3")
        assert await _recall(memory, "s") == ["1", "3"]

    async def test_a_session_in_no_hub_reads_no_hub(self, memory: Memory, written: Written) -> None:
        await _append(memory, "s", "a")
        _say(written, "not for s")
        await _recall(memory, "s")
        assert written.said.reads == 0


class TestMembers:
    async def test_joining_twice_keeps_the_first_cursor(self, memory: Memory, written: Written) -> None:
        first = await _join(memory, "s")
        _say(written, "meanwhile")
        assert await _join(memory, "s") == first
        assert await _recall(memory, "s") == ["meanwhile"]

    async def test_joining_at_once_on_two_replicas_gives_one_cursor(self, written: Written) -> None:
        members = await asyncio.gather(*(_join(written.replica(), "s") for _ in range(8)))
        assert len({member.cursor for member in members}) == 1
        assert len(written.members.entries) == 1

    async def test_leaving_twice_changes_nothing(self, memory: Memory) -> None:
        await _join(memory, "s")
        left = [(await memory.leave(hub.Leave(hub="team", session="s"))).was_member for _ in range(2)]
        assert left == [True, False]

    async def test_leaving_a_hub_of_others_changes_nothing(self, memory: Memory) -> None:
        await _join(memory, "s")
        assert not (await memory.leave(hub.Leave(hub="team", session="t"))).was_member

    async def test_a_hub_that_never_was_is_not_found(self, memory: Memory) -> None:
        with pytest.raises(HubNotFound, match="'nowhere'"):
            await memory.leave(hub.Leave(hub="nowhere", session="s"))
        with pytest.raises(HubNotFound, match="'nowhere'"):
            await memory.hubs(hub.List(hub="nowhere"))

    async def test_hubs_are_listed_by_name_with_their_members(self, memory: Memory) -> None:
        await _join(memory, "one", "b")
        await _join(memory, "two", "b")
        await _join(memory, "two", "a")
        await _join(memory, "three", "c")
        await memory.leave(hub.Leave(hub="c", session="three"))

        async def listed(**which: str) -> dict[str, list[str]]:
            found = (await memory.hubs(hub.List(**which))).hubs  # pyright: ignore[reportArgumentType]
            return {one.hub: [member.session for member in one.members] for one in found}

        assert await listed() == {"a": ["two"], "b": ["one", "two"]}
        assert await listed(session="one") == {"b": ["one", "two"]}
        assert await listed(hub="a") == {"a": ["two"]}

    async def test_a_cleared_session_is_in_no_hub(self, memory: Memory, written: Written) -> None:
        await _join(memory, "s")
        await _join(memory, "t")
        await _append(memory, "s", "a")
        _say(written, "heard")
        assert (await memory.clear(ask.Clear(session="s"))).removed == 1
        assert await _recall(memory, "s") == []
        assert [one.session for one in (await memory.hubs(hub.List())).hubs[0].members] == ["t"]

    async def test_a_membership_that_nobody_can_read_is_passed_over(self, memory: Memory, written: Written) -> None:
        written.members.put("s.team", b"not json")
        written.members.put("s.other", b"")
        await _append(memory, "s", "a")
        assert await _recall(memory, "s") == ["a"]
        await _join(memory, "s")
        assert len((await memory.hubs(hub.List())).hubs) == 1


class TestClear:
    async def test_a_session_that_never_was_is_not_found(self, memory: Memory) -> None:
        with pytest.raises(SessionNotFound, match="'s'"):
            await memory.clear(ask.Clear(session="s"))

    async def test_other_sessions_stay(self, memory: Memory) -> None:
        await _append(memory, "s", "a", "b")
        await _append(memory, "t", "c")
        assert (await memory.clear(ask.Clear(session="s"))).removed == 2
        assert await _recall(memory, "t") == ["c"]

    async def test_a_position_from_before_shows_nothing_of_what_comes_after(self, memory: Memory) -> None:
        position = (await _append(memory, "s", "a")).position
        await memory.clear(ask.Clear(session="s"))
        await _append(memory, "s", "b")
        assert await _recall(memory, "s", upto=position) == []


class TestDocuments:
    async def test_what_is_exported_can_be_imported_as_it_was(self, memory: Memory) -> None:
        await _append(memory, "s", "a", "b")
        document = await memory.export(ask.Export(session="s"))
        assert (await memory.take_in(ask.Import(document=document, session="t"))).added == 2
        assert (await memory.export(ask.Export(session="t"))).messages == document.messages

    async def test_importing_twice_adds_nothing(self, memory: Memory) -> None:
        await _append(memory, "s", "a", "b")
        document = await memory.export(ask.Export(session="s"))
        assert (await memory.take_in(ask.Import(document=document))).added == 0

    async def test_what_was_cleared_comes_back_by_import(self, memory: Memory) -> None:
        await _append(memory, "s", "a", "b")
        document = await memory.export(ask.Export(session="s"))
        await memory.clear(ask.Clear(session="s"))
        assert (await memory.take_in(ask.Import(document=document))).added == 2
        assert await _recall(memory, "s") == ["a", "b"]

    async def test_a_session_that_never_was_cannot_be_exported(self, memory: Memory) -> None:
        with pytest.raises(SessionNotFound, match="'s'"):
            await memory.export(ask.Export(session="s"))


class TestSearch:
    async def test_all_words_must_be_there_whatever_their_case(self, memory: Memory) -> None:
        await _append(memory, "s", "red apple", "green Apple", "RED pear", "an apple so Red")
        found = await memory.search(ask.Search(session="s", query="Apple red"))
        assert [message.text for message in found.messages] == ["an apple so Red", "red apple"]

    async def test_the_newest_come_first_and_no_more_than_asked(self, written: Written) -> None:
        writer = written.replica()
        await _append(writer, "s", "say the very first")
        for number in range(400):
            await _append(writer, "s", f"say {number}")
        found = await written.replica().search(ask.Search(session="s", query="say", limit=2))
        assert [message.text for message in found.messages] == ["say 399", "say 398"]
        oldest = await written.replica().search(ask.Search(session="s", query="first"))
        assert [message.text for message in oldest.messages] == ["say the very first"]

    async def test_tools_and_hubs_are_searched_too(self, memory: Memory, written: Written) -> None:
        call = Message(name="b", role="assistant", content=[ToolUseBlock(id="c", name="weather", raw_input='"Rome"')])
        output = ToolResultBlock(id="c", name="weather", output=[TextBlock(text="sunny")])
        await memory.append(ask.Append(session="s", messages=[call, Message(name="t", role="tool", content=[output])]))
        await _join(memory, "s")
        _say(written, "rain tomorrow")
        for query in ("weather rome", "sunny", "rain"):
            assert len((await memory.search(ask.Search(session="s", query=query))).messages) == 1

    async def test_a_query_without_a_word_is_refused(self, memory: Memory) -> None:
        with pytest.raises(BodyInvalid, match="word"):
            await memory.search(ask.Search(session="s", query="  "))


class TestAppended:
    async def test_the_position_recalls_what_was_there_then(self, memory: Memory) -> None:
        appended = await _append(memory, "s", "a")
        await _append(memory, "s", "b")
        assert appended.position == Position(session=1)
        assert await _recall(memory, "s", upto=appended.position) == ["a"]

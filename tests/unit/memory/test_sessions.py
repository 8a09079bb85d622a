"""Sessions: every message once, whoever writes."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natscope.contracts.errors import BodyTooLarge, BusUnavailable, SessionNotFound
from natscope.contracts.message import Message
from services.memory.reading import ALL, Wanted
from services.memory.sessions import Sessions
from tests.unit.memory.fakes import FakeLog


def _batch(*ids: str) -> list[Message]:
    return [Message(id=id, name="ann", role="user", content=f"says {id}") for id in ids]  # pyright: ignore[reportArgumentType]


async def _ids(log: FakeLog, session: str = "s") -> list[str]:
    return [heard.message.id for heard in (await Sessions(log).newest(session, ALL)).heard]


class TestAppend:
    async def test_messages_stand_in_the_order_they_were_given(self) -> None:
        log = FakeLog()
        sessions = Sessions(log)
        assert await sessions.append("s", _batch("b", "a")) == (2, 1)
        assert await sessions.append("s", _batch("c")) == (1, 2)
        assert await _ids(log) == ["b", "a", "c"]

    async def test_what_is_there_is_not_added_again(self) -> None:
        log = FakeLog()
        sessions = Sessions(log)
        await sessions.append("s", _batch("a", "b"))
        assert await sessions.append("s", _batch("a", "b")) == (0, 1)
        assert await sessions.append("s", _batch("b", "c")) == (1, 2)
        assert await _ids(log) == ["a", "b", "c"]

    async def test_a_session_that_is_new_as_was_guessed_is_not_looked_for(self) -> None:
        guessed, looked_for = FakeLog(), FakeLog()
        assert await Sessions(guessed).append("s", _batch("a"), fresh=True) == (1, 1)
        assert await Sessions(looked_for).append("s", _batch("a")) == (1, 1)
        assert (guessed.reads, looked_for.reads) == (0, 1)
        assert await _ids(guessed) == ["a"]

    async def test_a_session_that_was_guessed_to_be_new_and_is_not_keeps_each_message_once(self) -> None:
        log = FakeLog()
        await Sessions(log).append("s", _batch("a", "b"))
        assert await Sessions(log).append("s", _batch("b", "c"), fresh=True) == (1, 2)
        assert await _ids(log) == ["a", "b", "c"]

    async def test_an_id_twice_in_one_batch_is_added_once(self) -> None:
        log = FakeLog()
        first, second = _batch("a")[0], Message(id="a", name="ben", role="user", content=[])
        assert await Sessions(log).append("s", [first, second]) == (1, 1)
        heard = (await Sessions(log).newest("s", ALL)).heard
        assert [one.message.name for one in heard] == ["ann"]

    async def test_the_same_batch_at_once_from_two_replicas_is_added_once(self) -> None:
        log = FakeLog()
        replicas = [Sessions(log), Sessions(log)]
        answers = await asyncio.gather(*(replica.append("s", _batch("a", "b")) for replica in replicas * 5))
        assert sorted(added for added, _ in answers) == [0] * 9 + [2]
        assert await _ids(log) == ["a", "b"]

    async def test_a_replica_that_was_overtaken_takes_what_is_new_into_account(self) -> None:
        log = FakeLog()
        one, two = Sessions(log), Sessions(log)
        await one.append("s", _batch("a"))
        await two.append("s", _batch("b"))
        assert await one.append("s", _batch("b", "c")) == (1, 3)
        assert await _ids(log) == ["a", "b", "c"]

    async def test_after_a_lost_acknowledgement_the_same_append_adds_nothing(self) -> None:
        log = FakeLog()
        sessions = Sessions(log)
        await sessions.append("s", _batch("a"))
        log.lose_next_acknowledgement = True
        with pytest.raises(BusUnavailable):
            await sessions.append("s", _batch("b"))
        assert await sessions.append("s", _batch("b")) == (0, 2)
        assert await _ids(log) == ["a", "b"]

    async def test_what_another_replica_cleared_can_be_appended_again(self) -> None:
        log = FakeLog()
        one, two = Sessions(log), Sessions(log)
        await one.append("s", _batch("a", "b"))
        assert await two.forget("s") == 2
        assert (await one.append("s", _batch("a")))[0] == 1
        assert await _ids(log) == ["a"]

    async def test_a_session_cleared_and_filled_again_elsewhere_is_seen_as_it_is(self) -> None:
        log = FakeLog()
        one, two = Sessions(log), Sessions(log)
        await one.append("s", _batch("a", "b"))
        await two.forget("s")
        await two.append("s", _batch("c", "d"))
        assert (await one.append("s", _batch("a", "d", "e")))[0] == 2
        assert await _ids(log) == ["c", "d", "a", "e"]

    async def test_what_is_over_one_entry_becomes_several_in_order(self) -> None:
        log = FakeLog()
        big = [Message(id=str(n), name="a", role="user", content="x" * 7_000_000) for n in range(5)]  # pyright: ignore[reportArgumentType]
        assert (await Sessions(log).append("s", big))[0] == 5
        assert len(log.entries) == 3
        assert await _ids(log) == ["0", "1", "2", "3", "4"]

    async def test_a_message_that_fits_no_entry_is_refused_and_nothing_is_written(self) -> None:
        log = FakeLog()
        big = Message(id="huge", name="a", role="user", content="x" * 17_000_000)  # pyright: ignore[reportArgumentType]
        with pytest.raises(BodyTooLarge, match="'huge'"):
            await Sessions(log).append("s", [*_batch("a"), big])
        assert log.entries == []

    @settings(deadline=None, max_examples=50)
    @given(
        st.lists(st.tuples(st.integers(0, 2), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4)), max_size=12)
    )
    async def test_however_replicas_interleave_each_id_is_there_once(self, asks: list[tuple[int, list[str]]]) -> None:
        log = FakeLog()
        replicas = [Sessions(log), Sessions(log), Sessions(log, remembered_ids=0)]
        answers = await asyncio.gather(*(replicas[which].append("s", _batch(*ids)) for which, ids in asks))
        wanted = {id for _, ids in asks for id in ids}
        there = await _ids(log)
        assert sorted(there) == sorted(wanted)
        assert sum(added for added, _ in answers) == len(wanted)


class TestRoundTrips:
    async def test_an_append_to_what_is_known_is_one_write_and_no_read(self) -> None:
        log = FakeLog()
        sessions = Sessions(log)
        await sessions.newest("s", ALL)
        reads = log.reads
        for number in range(5):
            await sessions.append("s", _batch(*(f"{number}-{i}" for i in range(4))))
        assert (log.reads - reads, log.writes) == (0, 5)

    async def test_an_append_to_what_is_not_known_is_one_read_and_one_write(self) -> None:
        log = FakeLog()
        await Sessions(log).append("s", _batch("a"))
        log.reads = log.writes = 0
        await Sessions(log).append("s", _batch("b"))
        assert (log.reads, log.writes) == (1, 1)

    async def test_where_others_write_too_it_looks_before_it_writes(self) -> None:
        log = FakeLog()
        one, two = Sessions(log), Sessions(log)
        for number in range(3):
            await one.append("s", _batch(f"one-{number}"))
            await two.append("s", _batch(f"two-{number}"))
        log.reads = log.writes = 0
        await one.append("s", _batch("x"))
        assert (log.reads, log.writes) == (1, 1)

    async def test_the_end_of_a_known_session_is_read_at_once_and_alone(self) -> None:
        log = FakeLog()
        sessions = Sessions(log)
        for number in range(500):
            await sessions.append("s", _batch(f"{number}-a", f"{number}-b"))
        log.reads = log.given = 0
        reading = await sessions.newest("s", Wanted(lambda heard: len(heard) >= 20, messages=20))
        assert reading.heard[0].message.id == "490-a"
        assert (reading.unread, log.reads, log.given) == (980, 1, 10)


class TestNewest:
    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, 40), st.integers(0, 90), st.booleans())
    async def test_known_or_not_the_answer_is_the_same(self, entries: int, last: int, cleared: bool) -> None:
        log = FakeLog(page_entries=7)
        knowing = Sessions(log)
        for number in range(entries):
            await knowing.append("s", _batch(*(f"{number}-{i}" for i in range(1 + number % 3))))
        if cleared:
            other = Sessions(log)
            await other.forget("s")
            await other.append("s", _batch("new-a", "new-b"))

        def enough(heard: object) -> bool:
            assert isinstance(heard, list)
            return len(heard) >= last

        readings = [await sessions.newest("s", Wanted(enough, messages=last)) for sessions in (knowing, Sessions(log))]
        everything = [one.message.id for one in (await Sessions(log).newest("s", ALL)).heard]
        for reading in readings:
            heard = [one.message.id for one in reading.heard]
            assert heard == everything[len(everything) - len(heard) :]
            assert len(heard) >= min(last, len(everything))
            assert reading.unread == len(everything) - len(heard)

    async def test_an_entry_that_nobody_can_read_is_passed_over(self) -> None:
        log = FakeLog()
        sessions = Sessions(log)
        await sessions.append("s", _batch("a"))
        log.put("s", b"not json")
        await sessions.append("s", _batch("b"))
        assert await _ids(log) == ["a", "b"]

    async def test_a_session_that_does_not_exist_is_empty(self) -> None:
        reading = await Sessions(FakeLog()).newest("s", ALL)
        assert reading == ([], 0, 0)

    async def test_the_log_may_be_out_of_reach(self) -> None:
        log = FakeLog()
        log.down = True
        with pytest.raises(BusUnavailable):
            await Sessions(log).newest("s", ALL)


class TestEverything:
    async def test_a_session_that_never_was_is_not_found(self) -> None:
        with pytest.raises(SessionNotFound, match="'s'"):
            await Sessions(FakeLog()).everything("s")

    async def test_only_the_session_itself_is_given(self) -> None:
        log = FakeLog()
        sessions = Sessions(log)
        await sessions.append("s", _batch("a"))
        await sessions.append("t", _batch("b"))
        assert [message.id for message in await sessions.everything("s")] == ["a"]

"""Finding where the newest entries of a long log begin."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.memory.log import newest
from tests.unit.memory.fakes import FakeLog


def _filled(keys: list[str], page_entries: int = 1_000) -> FakeLog:
    log = FakeLog(page_entries=page_entries)
    for key in keys:
        log.put(key, b"x")
    return log


class TestNewest:
    @settings(deadline=None)
    @given(
        st.lists(st.sampled_from(["a", "a", "b"]), max_size=600),
        st.none() | st.integers(0, 50),
        st.integers(0, 100),
        st.none() | st.integers(0, 700),
        st.integers(1, 300),
    )
    async def test_the_end_of_the_log_is_whole_and_as_long_as_wanted(
        self, keys: list[str], wanted: int | None, after: int, upto: int | None, page_entries: int
    ) -> None:
        log = _filled(keys, page_entries)
        there = [e for e in log.entries if e.key == "a" and e.sequence > after and (upto is None or e.sequence <= upto)]
        found, older = await newest(log, "a", wanted=wanted, after=after, upto=upto)
        assert found == there[len(there) - len(found) :]
        assert older == len(there) - len(found)
        assert len(found) >= min(len(there), len(there) if wanted is None else wanted)

    async def test_a_short_log_is_read_at_once(self) -> None:
        log = _filled(["a"] * 20)
        await newest(log, "a", wanted=20)
        assert log.reads == 1

    async def test_of_a_long_log_only_little_is_read(self) -> None:
        log = _filled(["a", "b", "b"] * 10_000)
        found, older = await newest(log, "a", wanted=20)
        assert len(found) + older == 10_000
        assert log.given < 150
        assert log.reads < 20

    async def test_all_of_a_long_log_is_read_where_all_is_wanted(self) -> None:
        log = _filled(["a"] * 1_000)
        found, older = await newest(log, "a", wanted=None)
        assert (len(found), older) == (1_000, 0)

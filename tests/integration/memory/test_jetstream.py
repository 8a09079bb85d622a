"""The log on JetStream keeps the port's word, and so does the fake that stands for it elsewhere."""

import pytest

from natscope.bus import Bus
from natscope.bus.envelope import CLAIM, DIGEST
from natscope.bus.streams import SAID
from natscope.contracts.errors import BusUnavailable, ServiceNotRunning
from services.memory.jetstream import DirectReader, StreamLog
from services.memory.log import Log, Moved, pages
from tests.nats_server import NatsServer
from tests.unit.memory.fakes import FakeLog


@pytest.fixture
async def reader(bus: Bus) -> DirectReader:
    reader = DirectReader(bus)
    await reader.start()
    return reader


@pytest.fixture(params=["on JetStream", "fake"])
async def log(reader: DirectReader, request: pytest.FixtureRequest) -> Log:
    return FakeLog() if request.param == "fake" else StreamLog(reader, "SESSIONS", "session.log")


class TestLog:
    async def test_entries_are_read_in_the_order_they_were_written(self, log: Log) -> None:
        first = await log.add("a", b"1", expect=0)
        await log.add("b", b"other", expect=0)
        second = await log.add("a", b"2", expect=first)
        entries, pending = await log.page("a")
        assert [(entry.key, entry.sequence, entry.data) for entry in entries] == [
            ("a", first, b"1"),
            ("a", second, b"2"),
        ]
        assert pending == 0
        assert entries[0].at_ns < entries[1].at_ns
        assert await log.end() == second

    async def test_a_page_says_how_many_come_after_it(self, log: Log) -> None:
        last = 0
        for number in range(5):
            last = await log.add("a", b"%d" % number, expect=last)
        page = await log.page("a", limit=2)
        assert ([entry.data for entry in page.entries], page.pending) == ([b"0", b"1"], 3)
        page = await log.page("a", after=page.entries[-1].sequence, limit=10)
        assert ([entry.data for entry in page.entries], page.pending) == ([b"2", b"3", b"4"], 0)
        assert (await log.page("a", after=last)).entries == []

    async def test_who_was_overtaken_writes_nothing(self, log: Log) -> None:
        first = await log.add("a", b"1", expect=0)
        for expect in (0, first + 1):
            with pytest.raises(Moved):
                await log.add("a", b"2", expect=expect)
        assert len((await log.page("a")).entries) == 1

    async def test_what_is_forgotten_is_gone_and_its_sequences_do_not_come_back(self, log: Log) -> None:
        first = await log.add("a", b"1", expect=0)
        await log.add("b", b"1", expect=0)
        assert await log.forget("a") == 1
        assert await log.forget("a") == 0
        assert await log.add("a", b"2", expect=0) > first
        assert len((await log.page("*")).entries) == 2

    async def test_a_pattern_takes_one_token(self, log: Log) -> None:
        await log.add("a", b"1", expect=0)
        assert (await log.page("a.*")).entries == []


class TestPages:
    async def test_large_entries_make_a_page_shorter(self, reader: DirectReader) -> None:
        log = StreamLog(reader, "SESSIONS", "session.log")
        last = 0
        for _ in range(9):
            last = await log.add("a", b"x" * 900_000, expect=last)
        page = await log.page("a")
        assert 0 < len(page.entries) < 9
        assert page.total == 9

    async def test_a_stream_that_is_not_there_is_told_at_once(self, reader: DirectReader) -> None:
        with pytest.raises(ServiceNotRunning, match="provision"):
            await StreamLog(reader, "NOWHERE", "nowhere").page("a")

    async def test_a_server_that_is_down_is_told_in_time(self, reader: DirectReader, nats_server: NatsServer) -> None:
        log = StreamLog(reader, "SESSIONS", "session.log")
        nats_server.kill()
        with pytest.raises(BusUnavailable):
            await log.page("a")


class TestLargeEntries:
    async def test_what_an_overtaken_writer_stored_is_removed(self, reader: DirectReader) -> None:
        log = StreamLog(reader, "SESSIONS", "session.log", bucket=SAID)
        first = await log.add("a", b"x" * 2_000_000, expect=0)
        with pytest.raises(Moved):
            await log.add("a", b"y" * 2_000_000, expect=0)
        assert [entry.sequence for entry in (await log.page("a")).entries] == [first]
        store = await reader.bus.js.object_store(SAID)
        assert len(await store.list(ignore_deletes=True)) == 1

    async def test_a_page_of_many_large_bodies_ends_early(self, reader: DirectReader) -> None:
        log = StreamLog(reader, "SESSIONS", "session.log", bucket=SAID)
        last = 0
        for _ in range(4):
            last = await log.add("a", b"x" * 12_000_000, expect=last)
        page = await log.page("a")
        assert (len(page.entries), page.pending) == (3, 1)
        assert [entry.sequence async for page in pages(log, "a") for entry in page.entries][-1] == last

    async def test_they_outlive_every_other_body(self, reader: DirectReader) -> None:
        ages = {name: (await reader.bus.js.stream_info(f"OBJ_{name}")).config.max_age for name in (SAID, "bodies")}
        assert ages == {SAID: 0, "bodies": 8 * 86_400}

    async def test_an_entry_that_does_not_say_what_its_body_must_be_stops_no_reader(self, reader: DirectReader) -> None:
        log = StreamLog(reader, "HUB", "hub.said")
        stored = await reader.bus.blobs.store(b"anything", "application/json", bucket="bodies")
        await reader.bus.js.publish("hub.said.team", b"", headers={CLAIM: stored.url})
        await reader.bus.js.publish("hub.said.team", b"", headers={CLAIM: "elsewhere", DIGEST: "SHA-256=AAAA"})
        assert [entry.data for entry in (await log.page("team")).entries] == [b"", b""]

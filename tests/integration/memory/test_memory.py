"""The memory service over NATS: replicas, restarts, hubs, and figures."""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.streams import SAID, provision
from natscope.contracts import hub, memory
from natscope.contracts.errors import BodyTooLarge, HubNotFound, SessionNotFound
from natscope.contracts.message import Message
from tests.integration.memory.house import SILENT, Process, Rooms, append, batch, insist, recall
from tests.nats_server import NatsServer


class TestSessions:
    async def test_what_is_appended_is_recalled_exported_imported_and_cleared(self, rooms: Rooms, bus: Bus) -> None:
        appended = await append(bus, "s", "a", "b")
        assert (appended.added, await recall(bus, "s")) == (2, ["a", "b"])
        document = await bus.ask(memory.EXPORT, memory.Export(session="s"))
        imported = await bus.ask(memory.IMPORT, memory.Import(document=document, session="t"))
        assert imported.added == 2
        again = await bus.ask(memory.EXPORT, memory.Export(session="t"))
        assert again.messages == document.messages
        found = await bus.ask(memory.SEARCH, memory.Search(session="s", query="SAYS b"))
        assert [message.id for message in found.messages] == ["b"]
        assert (await bus.ask(memory.CLEAR, memory.Clear(session="s"))).removed == 2
        assert await recall(bus, "s") == []
        with pytest.raises(SessionNotFound, match="'s'"):
            await bus.ask(memory.EXPORT, memory.Export(session="s"))

    async def test_the_same_batch_at_once_through_two_replicas_is_added_once(self, rooms: Rooms, bus: Bus) -> None:
        await rooms.open()
        answers = await asyncio.gather(*(append(bus, "s", "a", "b", "c") for _ in range(20)))
        assert sorted(answer.added for answer in answers) == [0] * 19 + [3]
        assert await recall(bus, "s") == ["a", "b", "c"]

    async def test_many_writers_of_one_session_lose_nothing(self, rooms: Rooms, bus: Bus) -> None:
        await rooms.open()
        await rooms.open()
        await asyncio.gather(*(append(bus, "s", f"{n}-a", f"{n}-b") for n in range(40)))
        ids = await recall(bus, "s")
        assert sorted(ids) == sorted(f"{n}-{x}" for n in range(40) for x in "ab")
        assert all(ids.index(f"{n}-a") + 1 == ids.index(f"{n}-b") for n in range(40))

    async def test_a_position_recalls_the_same_again_from_another_replica(self, rooms: Rooms, bus: Bus) -> None:
        position = (await append(bus, "s", "a")).position
        await append(bus, "s", "b")
        await rooms.close()
        await rooms.open()
        assert await recall(bus, "s", upto=position) == ["a"]

    async def test_an_answer_and_a_batch_over_the_limit_of_nats_travel(self, rooms: Rooms, bus: Bus) -> None:
        big = batch("a", "b", "c", size=700_000)
        assert (await bus.ask(memory.APPEND, memory.Append(session="s", messages=big))).added == 3
        recalled = await bus.ask(memory.RECALL, memory.Recall(session="s"))
        assert recalled.messages == big

    async def test_a_message_too_large_to_keep_is_refused_by_name(self, rooms: Rooms, bus: Bus) -> None:
        with pytest.raises(BodyTooLarge, match="'huge'"):
            await bus.ask(memory.APPEND, memory.Append(session="s", messages=batch("huge", size=17_000_000)))
        assert await recall(bus, "s") == []

    async def test_a_message_of_five_megabytes_is_given_back_by_every_replica(self, rooms: Rooms, bus: Bus) -> None:
        big = batch("before") + batch("big", size=5_000_000) + batch("after")
        assert (await bus.ask(memory.APPEND, memory.Append(session="s", messages=big))).added == 3
        assert (await bus.ask(memory.APPEND, memory.Append(session="s", messages=big))).added == 0
        await append(bus, "s", "later")
        await rooms.close()
        await rooms.open()
        recalled = await bus.ask(memory.RECALL, memory.Recall(session="s"))
        assert recalled.messages[:3] == big
        document = await bus.ask(memory.EXPORT, memory.Export(session="s"))
        assert (await bus.ask(memory.IMPORT, memory.Import(document=document, session="t"))).added == 4
        assert await recall(bus, "t") == ["before", "big", "after", "later"]

    async def test_a_cleared_session_leaves_no_large_body_behind(self, rooms: Rooms, bus: Bus) -> None:
        for session in ("s", "t"):
            large = memory.Append(session=session, messages=batch("big", size=2_000_000))
            await bus.ask(memory.APPEND, large)
        store = await bus.js.object_store(SAID)
        before = len(await store.list(ignore_deletes=True))
        await bus.ask(memory.CLEAR, memory.Clear(session="s"))
        assert (before, len(await store.list(ignore_deletes=True))) == (2, 1)
        assert await recall(bus, "t") == ["big"]


class TestHubs:
    async def test_two_hear_each_other_and_a_third_from_when_it_joins(self, rooms: Rooms, bus: Bus) -> None:
        async def join(session: str) -> hub.Joined:
            return await bus.ask(hub.JOIN, hub.Join(hub="team", session=session, agent=session))

        async def say(text: str, session: str) -> None:
            message = Message.model_validate({"id": text, "name": session, "role": "assistant", "content": text})
            await bus.record(hub.SAID, hub.Said(message=message, session=session), "team", message_id=text)

        await join("one")
        await join("two")
        await say("1", "one")
        await say("2", "two")
        late = await join("three")
        assert (await join("three")).member == late.member
        await say("3", "one")
        assert [await recall(bus, name) for name in ("one", "two", "three")] == [["2"], ["1", "3"], ["3"]]
        await bus.ask(hub.LEAVE, hub.Leave(hub="team", session="two"))
        await say("4", "one")
        assert await recall(bus, "two") == ["1", "3"]
        listed = await bus.ask(hub.LIST, hub.List(hub="team"))
        assert [member.session for member in listed.hubs[0].members] == ["one", "three"]

    async def test_what_is_published_by_hand_is_heard(self, rooms: Rooms, bus: Bus) -> None:
        await bus.ask(hub.JOIN, hub.Join(hub="team", session="s"))
        for body in (b"hello", b'{"not": "said"', b""):
            await bus.js.publish("hub.said.team", body)
        recalled = await bus.ask(memory.RECALL, memory.Recall(session="s"))
        assert [(message.name, message.text) for message in recalled.messages] == [
            ("guest", "hello"),
            ("guest", '{"not": "said"'),
        ]

    async def test_a_long_word_is_heard_whole(self, rooms: Rooms, bus: Bus) -> None:
        await bus.ask(hub.JOIN, hub.Join(hub="team", session="s"))
        (message,) = batch("long", size=2_000_000)
        await bus.record(hub.SAID, hub.Said(message=message), "team")
        recalled = await bus.ask(memory.RECALL, memory.Recall(session="s"))
        assert recalled.messages == [message]

    async def test_joining_at_once_through_two_replicas_gives_one_cursor(self, rooms: Rooms, bus: Bus) -> None:
        await rooms.open()
        asked = hub.Join(hub="team", session="s")
        joined = await asyncio.gather(*(bus.ask(hub.JOIN, asked) for _ in range(10)))
        assert len({one.member.cursor for one in joined}) == 1

    async def test_a_cleared_session_has_left(self, rooms: Rooms, bus: Bus) -> None:
        await bus.ask(hub.JOIN, hub.Join(hub="team", session="s"))
        await bus.ask(memory.CLEAR, memory.Clear(session="s"))
        with pytest.raises(HubNotFound, match="'team'"):
            await bus.ask(hub.LIST, hub.List(hub="team"))

    async def test_what_was_joined_through_one_replica_is_heard_through_any_other(self, rooms: Rooms, bus: Bus) -> None:
        await rooms.open()
        await bus.ask(hub.JOIN, hub.Join(hub="team", session="s"))
        await bus.js.publish("hub.said.team", b"hello")
        heard = [await recall(bus, "s") for _ in range(8)]
        assert all(len(one) == 1 for one in heard)


class TestRestarts:
    async def test_a_killed_process_loses_nothing_and_repeats_nothing(self, nats_url: str, bus: Bus) -> None:
        """The same appends are asked again and again while one replica of two is killed."""
        first, second = await asyncio.gather(Process(nats_url).ready(), Process(nats_url).ready())
        under_way = asyncio.Event()

        async def writer(which: int) -> None:
            for number in range(15):
                ids = [f"{which}-{number}-{part}" for part in range(3)]
                await insist(lambda ids=ids: append(bus, "s", *ids, deadline_s=1))
                if number == 3:
                    under_way.set()

        async def killer() -> None:
            await under_way.wait()
            first.kill()

        await asyncio.gather(*(writer(which) for which in range(4)), killer())
        ids = await recall(bus, "s")
        assert sorted(ids) == sorted(f"{w}-{n}-{p}" for w in range(4) for n in range(15) for p in range(3))
        assert second.stop() == 0

    async def test_a_new_process_knows_what_the_old_one_did(self, nats_url: str, bus: Bus) -> None:
        process = await Process(nats_url).ready()
        await append(bus, "s", "a", "b")
        await bus.ask(hub.JOIN, hub.Join(hub="team", session="s"))
        process.kill()
        process = await Process(nats_url).ready()
        await bus.js.publish("hub.said.team", b"hello")
        assert (await append(bus, "s", "a", "b", "c")).added == 1
        ids = await recall(bus, "s")
        assert [ids[0], ids[1], ids[3]] == ["a", "b", "c"]
        process.kill()

    async def test_a_restarted_server_finds_the_service_ready_again(
        self, rooms: Rooms, bus: Bus, nats_server: NatsServer
    ) -> None:
        await append(bus, "s", "a")
        await bus.ask(hub.JOIN, hub.Join(hub="team", session="s"))
        nats_server.kill()
        nats_server.start()
        appended = await insist(lambda: append(bus, "s", "a", "b", deadline_s=1))
        assert appended.position.session > 1
        await insist(lambda: bus.js.publish("hub.said.team", b"hello"))
        ids = await insist(lambda: recall(bus, "s"))
        assert ids[:2] == ["a", "b"]
        assert len(ids) == 3


class TestPermissions:
    @pytest.fixture
    async def guarded(self, tmp_path: Path) -> AsyncIterator[str]:
        """A server under deploy/nats.conf on which nobody may do more than its part."""
        config = Path(__file__).parents[3] / "deploy" / "nats.conf"
        passwords = re.findall(r"\$(NATS_\w+_PASSWORD)", config.read_text())
        environment = dict.fromkeys(passwords, "of-the-house") | {"NATS_SYNC_INTERVAL": "10s"}
        server = NatsServer(tmp_path / "guarded", config=config, env=environment).start()
        admin = BusSettings.model_construct(url=server.url, user="admin", password=SecretStr("of-the-house"))
        async with connect("provision", admin, SILENT) as bus:
            await provision(bus.js)
        yield server.url
        server.stop()

    async def test_the_service_may_do_all_that_it_has_to(self, guarded: str) -> None:
        us = BusSettings.model_construct(url=guarded, user="memory", password=SecretStr("of-the-house"))
        rooms = Rooms(us)
        await rooms.open()
        async with connect("guest", BusSettings.model_construct(url=guarded), SILENT) as guest:
            await append(guest, "s", "a")
            await guest.ask(hub.JOIN, hub.Join(hub="team", session="s"))
            await guest.js.publish("hub.said.team", b"hello")
            assert len(await recall(guest, "s")) == 2
            await guest.ask(hub.LEAVE, hub.Leave(hub="team", session="s"))
            assert (await guest.ask(memory.CLEAR, memory.Clear(session="s"))).removed == 1
        await rooms.close()


class TestFigures:
    async def test_a_session_of_a_thousand_messages(self, rooms: Rooms, bus: Bus) -> None:
        async def median(times: int, act: Callable[[int], Awaitable[object]]) -> str:
            spent: list[float] = []
            for number in range(times):
                began = time.perf_counter()
                await act(number)
                spent.append(time.perf_counter() - began)
            return f"{statistics.median(spent) * 1e3:.2f} ms"

        def ids(of: int) -> list[str]:
            return [f"{of}-{part}" for part in range(4)]

        figures = {
            "recall of a fresh session": await median(100, lambda n: recall(bus, f"fresh-{n}")),
            "append of 4 after that recall": await median(100, lambda n: append(bus, f"fresh-{n}", *ids(n))),
            "append of 4 to a session not known": await median(100, lambda n: append(bus, f"new-{n}", *ids(n))),
            "append of 4, up to 1,000": await median(250, lambda n: append(bus, "long", *ids(n))),
            "recall of the last 20 of 1,000": await median(30, lambda _: recall(bus, "long", last=20)),
            "recall of all 1,000": await median(5, lambda _: recall(bus, "long")),
        }
        for what, figure in figures.items():
            print(f"{what:36} {figure}")
        assert len(await recall(bus, "long")) == 1_000

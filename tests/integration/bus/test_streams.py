"""Streams: made in one place, by any number of processes at once, and never more than they should hold."""

import asyncio

import pytest
from nats.js.api import DiscardPolicy
from nats.js.errors import APIError

from natscope.bus import BusSettings, connect
from natscope.bus.streams import StreamSettings, provision, wait_until_provisioned
from natscope.contracts.blocks import plain
from natscope.contracts.errors import BusUnavailable, Overloaded, RunFenced
from natscope.contracts.run import JOURNALED, Resumed
from natscope.contracts.task import SUBMIT, Submit
from tests.nats_server import NatsServer


class TestProvisioning:
    async def test_by_many_at_once_and_again_makes_everything_once(self, nats_server: NatsServer) -> None:
        async with connect("admin", BusSettings(url=nats_server.url)) as bus:
            await asyncio.gather(*(provision(bus.js) for _ in range(5)))
            await provision(bus.js)
            names = sorted([info.config.name or "" for info in await bus.js.streams_info()])
            assert len(names) == len(set(names))
            assert {"TASKS", "EVENTS", "RESULTS", "JOURNAL", "SESSIONS", "HUB", "DLQ", "KV_agents", "OBJ_blobs"} <= set(
                names
            )

    async def test_keeps_what_was_there(self, nats_url: str) -> None:
        async with connect("admin", BusSettings(url=nats_url)) as bus:
            await bus.submit(SUBMIT, Submit(task_id="t", content=plain("hi")), "a", message_id="t")
            await provision(bus.js, StreamSettings(max_waiting_tasks=5))
            info = await bus.js.stream_info("TASKS")
            assert (info.state.messages, info.config.max_msgs) == (1, 5)

    @pytest.mark.parametrize("name", ["KV_replies", "OBJ_blobs", "OBJ_bodies", "KV_instances"])
    async def test_again_puts_right_what_was_laid_out_differently_and_keeps_the_data(
        self, nats_url: str, name: str
    ) -> None:
        async with connect("admin", BusSettings(url=nats_url)) as bus:
            meant = (await bus.js.stream_info(name)).config
            subject = (meant.subjects or [""])[0].replace(">", "x")
            await bus.js.publish(subject, b"kept")
            other = meant.evolve(max_age=7200, max_bytes=5 << 20, duplicate_window=60)
            assert (await bus.js.update_stream(other)).config.max_age == 7200
            await provision(bus.js)
            found = await bus.js.stream_info(name)
            assert (found.config.max_age, found.config.max_bytes) == (meant.max_age, meant.max_bytes)
            assert found.state.messages == 1

    async def test_bounds_every_bucket_and_all_of_it_fits_into_the_houses_store(self, nats_url: str) -> None:
        async with connect("admin", BusSettings(url=nats_url)) as bus:
            laid = {info.config.name or "": info.config for info in await bus.js.streams_info()}
            bounds = {name: config.max_bytes or -1 for name, config in laid.items() if not name.startswith("OBJ_")}
            assert all(bound > 0 for bound in bounds.values()), bounds
            assert sum(bounds.values()) < 48 << 30
            full = {name for name, config in laid.items() if config.discard == DiscardPolicy.NEW}
            assert {"SESSIONS", "TASKS", "KV_agents", "KV_hubs", "KV_replies", "KV_calls"} <= full

    async def test_that_never_comes_is_said_in_time(self, nats_server: NatsServer) -> None:
        async with connect("service", BusSettings(url=nats_server.url)) as bus:
            with pytest.raises(BusUnavailable, match="provision"):
                await wait_until_provisioned(bus.js, patience_s=0.3)


class TestTheWorkQueue:
    async def test_that_is_full_refuses_and_forgets_nothing(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            await provision(bus.js, StreamSettings(max_waiting_tasks=2))
            for n in range(2):
                await bus.submit(SUBMIT, Submit(task_id=f"t{n}", content=plain("hi")), "a", message_id=f"t{n}")
            with pytest.raises(Overloaded, match="full"):
                await bus.submit(SUBMIT, Submit(task_id="t2", content=plain("hi")), "a", message_id="t2")
            assert (await bus.js.stream_info("TASKS")).state.messages == 2

    async def test_takes_the_same_id_once(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            body = Submit(task_id="t", content=plain("hi"))
            acks = [await bus.submit(SUBMIT, body, "a", message_id="t") for _ in range(2)]
            assert [bool(ack.duplicate) for ack in acks] == [False, True]


class TestWhatWasSaid:
    async def test_is_not_forgotten_when_its_stream_is_full(self, nats_url: str) -> None:
        async with connect("memory", BusSettings(url=nats_url)) as bus:
            config = (await bus.js.stream_info("SESSIONS")).config
            await bus.js.update_stream(config.evolve(max_bytes=1000))
            await bus.js.publish("session.log.old", b"x" * 600)
            with pytest.raises(APIError, match="maximum bytes"):
                await bus.js.publish("session.log.new", b"x" * 600)
            assert (await bus.js.get_last_msg("SESSIONS", "session.log.old")).data == b"x" * 600


class TestTheFence:
    async def test_stops_whoever_does_not_know_the_last_entry(self, nats_url: str) -> None:
        async with connect("agent", BusSettings(url=nats_url)) as bus:
            last = await bus.record(JOURNALED, Resumed(holder="a"), "run", expect_last=0)
            await bus.record(JOURNALED, Resumed(holder="b"), "run", expect_last=last)
            with pytest.raises(RunFenced):
                await bus.record(JOURNALED, Resumed(holder="a"), "run", expect_last=last)


class TestReconnecting:
    async def test_goes_on_after_the_server_was_killed(self, nats_url: str, nats_server: NatsServer) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            await bus.submit(SUBMIT, Submit(task_id="a", content=plain("hi")), "a", message_id="a")
            nats_server.kill()
            nats_server.start()
            async with asyncio.timeout(20):
                while True:
                    try:
                        await bus.submit(SUBMIT, Submit(task_id="b", content=plain("hi")), "a", message_id="b")
                        break
                    except BusUnavailable:
                        await asyncio.sleep(0.1)
            assert (await bus.js.stream_info("TASKS")).state.messages == 2

"""Claims on sessions: who holds one is looked up, or was heard, on every call."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.ledger import Instance
from natscope.bus.streams import CELLS
from natscope.contracts import tool
from natscope.contracts.blocks import TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BusUnavailable
from services.tool_executor.homes import Homes
from tests.nats_server import NatsServer


@asynccontextmanager
async def executor(url: str) -> AsyncGenerator[tuple[Bus, Instance, Homes]]:
    """One executor's part in the claims, without cells."""
    async with connect("tool-executor", BusSettings.model_construct(url=url)) as bus:
        instance = Instance(bus)
        await instance.start()
        try:
            homes = Homes(bus, instance)
            await homes.listen()
            yield bus, instance, homes
        finally:
            await instance.stop()


def asked(session: str = "s1") -> tool.Call:
    call = ToolUseBlock(id="c1", name="execute_python", input={"code": "1"})
    return tool.Call(call_id=new_id(), call=call, session=session)


async def answer_held(bus: Bus, instance: Instance) -> None:
    """Answer `tool.held.<instance>` as an executor does that carries the call out."""
    result = ToolResultBlock(id="c1", name="execute_python", output=[TextBlock(text="there")], state="success")
    answer = tool.Called(result=result).model_dump_json().encode()

    async def respond(message: Msg) -> None:
        await message.respond(answer)

    await bus.nc.subscribe(tool.HELD.at(instance.id), cb=respond)
    await bus.nc.flush()


async def until_connected_again(bus: Bus) -> None:
    """Return when the connection was lost and is there again."""
    async with asyncio.timeout(60):
        while not (bus.nc.stats["reconnects"] and bus.nc.is_connected):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


class TestHomes:
    async def test_a_session_that_was_taken_over_meanwhile_is_no_longer_carried_out_here(self, nats_url: str) -> None:
        async with executor(nats_url) as (_, _, ours), executor(nats_url) as (bus, other, _):
            assert await ours.carry_out_there(asked()) is None
            assert await ours.carry_out_there(asked()) is None, "it stays ours while nobody takes it"
            await bus.js.publish(f"$KV.{CELLS}.s1", other.id.encode())
            await answer_held(bus, other)
            called = await ours.carry_out_there(asked())
            assert called is not None
            assert called.result.output == [TextBlock(text="there")]

    async def test_a_claim_is_written_once_and_then_only_looked_at(self, nats_url: str) -> None:
        async with executor(nats_url) as (bus, _, ours):
            for _ in range(5):
                assert await ours.carry_out_there(asked()) is None
            assert (await bus.js.stream_info(f"KV_{CELLS}")).state.last_seq == 1

    async def test_a_claim_whose_executor_gives_no_sign_of_life_is_taken_over(self, nats_url: str) -> None:
        async with executor(nats_url) as (bus, _, ours):
            await bus.js.publish(f"$KV.{CELLS}.s1", b"long-gone")
            assert await ours.carry_out_there(asked()) is None
            assert (await bus.js.stream_info(f"KV_{CELLS}")).state.last_seq == 2

    async def test_where_the_claims_cannot_be_read_the_bus_is_said_to_be_unavailable(
        self, nats_url: str, nats_server: NatsServer
    ) -> None:
        async with executor(nats_url) as (_, _, ours):
            nats_server.kill()
            with pytest.raises(BusUnavailable):
                await ours.carry_out_there(asked())
            nats_server.start()

    async def test_where_no_claim_can_be_written_the_bus_is_said_to_be_unavailable(self, nats_url: str) -> None:
        async with executor(nats_url) as (bus, _, ours):
            info = await bus.js.stream_info(f"KV_{CELLS}")
            await bus.js.update_stream(info.config, subjects=["elsewhere.>"])
            with pytest.raises(BusUnavailable):
                await ours.carry_out_there(asked())


class TestARememberedHome:
    """A purge is not heard: what is said after one was remembered if it is yes, and looked up if it is no."""

    async def test_a_home_that_was_claimed_is_not_looked_up_for_the_calls_after_it(self, nats_url: str) -> None:
        async with executor(nats_url) as (bus, _, ours):
            assert await ours.carry_out_there(asked()) is None
            await bus.js.purge_stream(f"KV_{CELLS}")
            assert await ours.is_here("s1")

    async def test_a_home_that_was_seen_to_be_ours_is_not_looked_up_again(self, nats_url: str) -> None:
        async with executor(nats_url) as (bus, instance, ours):
            await bus.js.publish(f"$KV.{CELLS}.s1", instance.id.encode())
            assert await ours.is_here("s1")
            await bus.js.purge_stream(f"KV_{CELLS}")
            assert await ours.is_here("s1")

    async def test_who_does_not_listen_looks_every_time(self, nats_url: str) -> None:
        async with executor(nats_url) as (bus, instance, _):
            deaf = Homes(bus, instance)
            assert await deaf.carry_out_there(asked()) is None
            assert await deaf.is_here("s1")
            await bus.js.purge_stream(f"KV_{CELLS}")
            assert not await deaf.is_here("s1")

    async def test_a_home_that_another_takes_is_known_to_be_theirs_with_the_servers_next_answer(
        self, nats_url: str
    ) -> None:
        async with executor(nats_url) as (bus, _, ours), executor(nats_url) as (theirs, other, _):
            assert await ours.carry_out_there(asked()) is None
            assert await ours.is_here("s1")
            await theirs.js.publish(f"$KV.{CELLS}.s1", other.id.encode())
            await bus.inbox.look(f"KV_{CELLS}", "$KV.cells.another")
            assert not await ours.is_here("s1")

    async def test_what_was_known_before_the_connection_was_lost_is_looked_up_again(
        self, nats_url: str, nats_server: NatsServer
    ) -> None:
        async with executor(nats_url) as (bus, _, ours):
            assert await ours.carry_out_there(asked()) is None
            nats_server.kill()
            nats_server.start()
            await until_connected_again(bus)
            await bus.js.purge_stream(f"KV_{CELLS}")
            assert not await ours.is_here("s1")

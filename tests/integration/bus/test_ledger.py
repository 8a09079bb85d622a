"""The ledger: what is asked under an id is done once, among any number of processes."""

import asyncio
import sys
from collections.abc import Callable

import pytest

from natscope.bus import BusSettings, Ledger, open_room
from natscope.bus.streams import CALLS
from natscope.contracts import memory
from natscope.contracts.errors import BusUnavailable, ModelUnavailable, RequestConflict
from tests.nats_server import NatsServer

ASK = memory.Clear(session="s")
VICTIM = """
import asyncio, sys
from natscope.bus import BusSettings, Ledger, open_room
from natscope.contracts import memory

async def work():
    print("begun", flush=True)
    await asyncio.sleep(600)

async def main():
    async with open_room("a", settings=BusSettings(url=sys.argv[1])) as room:
        ledger = Ledger(room.bus, room.instance, bucket="calls", answer=memory.Cleared)
        await ledger.once("id", memory.Clear(session="s"), work)

asyncio.run(main())
"""
"""A process that claims an id and then works for ten minutes."""


class _Work:
    """Counts how often it is done."""

    def __init__(self, answer: int = 1, *, delay_s: float = 0.0, during: Callable[[], None] | None = None) -> None:
        self.done = 0
        self.begun = asyncio.Event()
        self._answer = answer
        self._delay_s = delay_s
        self._during = during

    async def __call__(self) -> memory.Cleared:
        self.done += 1
        self.begun.set()
        if self._during is not None:
            self._during()
        await asyncio.sleep(self._delay_s)
        return memory.Cleared(removed=self._answer)


class TestTheLedger:
    async def test_gives_the_recorded_answer_to_a_repeated_ask(self, nats_url: str) -> None:
        async with open_room("a", settings=BusSettings(url=nats_url)) as room:
            ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared)
            work = _Work(7)
            assert await ledger.once("id", ASK, work) == (memory.Cleared(removed=7), False)
            assert await ledger.once("id", ASK, work) == (memory.Cleared(removed=7), True)
            assert work.done == 1

    async def test_knows_an_ask_again_whose_contract_has_grown_meanwhile(self, nats_url: str) -> None:
        class Grown(memory.Clear):
            tag: str | None = None

        async with open_room("a", settings=BusSettings(url=nats_url)) as room:
            ledger, work = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared), _Work(7)
            await ledger.once("id", ASK, work)
            assert await ledger.once("id", Grown(session="s"), work) == (memory.Cleared(removed=7), True)
            with pytest.raises(RequestConflict):
                await ledger.once("id", Grown(session="s", tag="said"), work)

    async def test_lets_a_second_process_wait_for_the_first(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("a", settings=settings) as one, open_room("b", settings=settings) as other:
            works = [_Work(7, delay_s=0.4), _Work(8)]
            ledgers = [Ledger(r.bus, r.instance, bucket=CALLS, answer=memory.Cleared) for r in (one, other)]
            first = asyncio.create_task(ledgers[0].once("id", ASK, works[0]))
            await works[0].begun.wait()
            assert await ledgers[1].once("id", ASK, works[1]) == (memory.Cleared(removed=7), True)
            await first
            assert [work.done for work in works] == [1, 0]

    async def test_of_many_asks_at_once_lets_one_do_the_work(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("a", settings=settings) as one, open_room("b", settings=settings) as other:
            ledgers = [Ledger(r.bus, r.instance, bucket=CALLS, answer=memory.Cleared) for r in (one, other)]
            work = _Work(delay_s=0.1)
            await asyncio.gather(*(ledgers[n % 2].once("id", ASK, work) for n in range(20)))
            assert work.done == 1

    async def test_asks_what_to_do_when_the_worker_was_killed_in_between(self, nats_url: str) -> None:
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-c", VICTIM, nats_url, stdout=asyncio.subprocess.PIPE
        )
        assert victim.stdout is not None
        assert await victim.stdout.readline() == b"begun\n"
        victim.kill()
        await victim.wait()
        async with open_room("b", settings=BusSettings(url=nats_url)) as room:
            await room.bus.js.purge_stream("KV_instances")
            ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared)
            work, lost = _Work(1), _Work(-1)
            answer, _ = await ledger.once("id", ASK, work, lost=lost)
            assert (answer.removed, work.done, lost.done) == (-1, 0, 1)

    async def test_refuses_an_id_that_was_used_for_something_else(self, nats_url: str) -> None:
        async with open_room("a", settings=BusSettings(url=nats_url)) as room:
            ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared)
            await ledger.once("id", ASK, _Work())
            with pytest.raises(RequestConflict, match="'id'"):
                await ledger.once("id", memory.Clear(session="other"), _Work())

    async def test_keeps_no_failure_so_that_the_next_ask_may_succeed(self, nats_url: str) -> None:
        async def fail() -> memory.Cleared:
            raise ModelUnavailable("down")

        async with open_room("a", settings=BusSettings(url=nats_url)) as room:
            ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared)
            with pytest.raises(ModelUnavailable):
                await ledger.once("id", ASK, fail)
            assert await ledger.once("id", ASK, _Work(3)) == (memory.Cleared(removed=3), False)

    async def test_goes_on_when_the_asker_goes_away(self, nats_url: str) -> None:
        async with open_room("a", settings=BusSettings(url=nats_url)) as room:
            ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared)
            work = _Work(5, delay_s=0.3)
            impatient = asyncio.create_task(ledger.once("id", ASK, work))
            await work.begun.wait()
            impatient.cancel()
            assert await ledger.once("id", ASK, work) == (memory.Cleared(removed=5), True)
            assert work.done == 1

    async def test_stops_what_is_no_longer_wanted(self, nats_url: str) -> None:
        async with open_room("a", settings=BusSettings(url=nats_url)) as room:
            ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared)
            work = _Work(delay_s=60)
            waiting = asyncio.create_task(ledger.once("id", ASK, work))
            await work.begun.wait()
            assert ledger.cancel("id")
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(waiting, timeout=20)
            assert not ledger.cancel("id")


class TestAServerThatFallsSilent:
    @pytest.mark.parametrize("asker", [0, 1], ids=["the same process", "another process"])
    async def test_as_an_id_is_claimed_leaves_it_free_for_the_next_ask(
        self, nats_url: str, nats_server: NatsServer, asker: int
    ) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("a", settings=settings) as one, open_room("b", settings=settings) as other:
            ledgers = [Ledger(r.bus, r.instance, bucket=CALLS, answer=memory.Cleared) for r in (one, other)]
            work, lost = _Work(7), _Work(-1)
            await ledgers[0].once("before", ASK, _Work())
            nats_server.pause()
            with pytest.raises(BusUnavailable):
                await ledgers[0].once("id", ASK, work, lost=lost)
            nats_server.resume()
            async with asyncio.timeout(30):
                assert await ledgers[asker].once("id", ASK, work, lost=lost) == (memory.Cleared(removed=7), False)
            assert (work.done, lost.done) == (1, 0)

    async def test_as_an_answer_is_kept_does_not_cost_the_answer(self, nats_url: str, nats_server: NatsServer) -> None:
        async with open_room("a", settings=BusSettings(url=nats_url)) as room:
            ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=memory.Cleared)
            work = _Work(7, during=nats_server.pause)
            asyncio.get_running_loop().call_later(6, nats_server.resume)
            assert await ledger.once("id", ASK, work) == (memory.Cleared(removed=7), False)
            assert await ledger.once("id", ASK, work) == (memory.Cleared(removed=7), True)
            assert work.done == 1

    @pytest.mark.parametrize("asker", [0, 1], ids=["the same process", "another process"])
    async def test_for_longer_than_the_ledger_is_patient_leaves_an_outcome_that_nobody_knows(
        self, nats_url: str, nats_server: NatsServer, asker: int
    ) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("a", settings=settings) as one, open_room("b", settings=settings) as other:
            ledgers = [
                Ledger(r.bus, r.instance, bucket=CALLS, answer=memory.Cleared, patience_s=0) for r in (one, other)
            ]
            work, lost = _Work(7, during=nats_server.pause), _Work(-1)
            with pytest.raises(BusUnavailable, match="could not be kept"):
                await ledgers[0].once("id", ASK, work, lost=lost)
            nats_server.resume()
            async with asyncio.timeout(30):
                answer, _ = await ledgers[asker].once("id", ASK, work, lost=lost)
            assert work.done == 1
            assert (answer.removed, lost.done) in ((-1, 1), (7, 0)), "lost, or kept late after all"


class TestAProcessWithoutASign:
    async def test_counts_as_dead(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("a", settings=settings) as one, open_room("b", settings=settings) as other:
            await one.bus.js.purge_stream("KV_instances")
            assert not await other.instance.lives(one.instance.id)

    async def test_may_give_one_when_the_server_was_away(self, nats_url: str, nats_server: NatsServer) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("a", settings=settings) as one, open_room("b", settings=settings) as other:
            nats_server.kill()
            nats_server.start()
            async with asyncio.timeout(30):
                while not (one.bus.nc.is_connected and other.bus.nc.stats["reconnects"]):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
            await one.bus.js.purge_stream("KV_instances")
            assert await other.instance.lives(one.instance.id)

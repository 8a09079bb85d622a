"""Submitting a task and hearing of it, on a real server with a stand-in for the agent."""

import asyncio

import pytest

from natscope import client
from natscope.bus import BusSettings
from natscope.contracts import event
from natscope.contracts.errors import DeadlineExceeded
from natscope.contracts.task import Finished
from tests.integration.client import fake_agent
from tests.nats_server import NatsServer


def settings(url: str) -> BusSettings:
    return BusSettings(url=url)


async def kinds(ticket: client.Ticket, *, after: int = 0) -> list[str]:
    async with asyncio.timeout(20):
        return [heard.event.type async for heard in ticket.events(after=after)]


class TestEvents:
    async def test_they_come_in_order_and_end_with_the_reply(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(settings(nats_url)) as house:
            told = await kinds(await house.submit("assistant", "primes?", stream=True))
            assert told[0] == "reply_start"
            assert told[-1] == "reply_end"
            assert told.count("text_delta") == 6

    async def test_who_comes_late_hears_all_of_them_once(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(settings(nats_url)) as house:
            ticket = await house.submit("assistant", "primes?")
            await ticket.result(20)
            assert await kinds(ticket) == await kinds(house.ticket(ticket.task_id))

    async def test_listening_again_goes_on_behind_the_last_one_heard(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(settings(nats_url)) as house:
            ticket = await house.submit("assistant", "primes?")
            all_of_them = [heard async for heard in ticket.events()]
            rest = [heard async for heard in ticket.events(after=all_of_them[4].sequence)]
            assert rest == all_of_them[5:]

    async def test_they_go_on_without_gap_or_double_when_the_server_was_killed_and_restarted(
        self, nats_url: str, nats_server: NatsServer
    ) -> None:
        go_on = asyncio.Event()

        async def in_two_halves(stage: fake_agent.Stage) -> Finished:
            for n in range(50):
                await stage.tell(event.TextDelta, step=1, block=0, delta=str(n))
            await go_on.wait()
            for n in range(50, 100):
                await stage.tell(event.TextDelta, step=1, block=0, delta=str(n))
            return await fake_agent.echoes(stage)

        async with fake_agent.fake_agent(nats_url, in_two_halves), client.open(settings(nats_url)) as house:
            ticket = await house.submit("assistant", "count", stream=True)
            heard: list[str] = []
            async with asyncio.timeout(40):
                async for item in ticket.events():
                    if isinstance(item.event, event.TextDelta):
                        heard.append(item.event.delta)
                    if len(heard) == 50 and not go_on.is_set():
                        nats_server.kill()
                        nats_server.start()
                        go_on.set()
            assert heard == [str(n) for n in range(100)]

    async def test_they_end_when_the_task_was_finished_without_any(self, nats_url: str) -> None:
        async def says_nothing(stage: fake_agent.Stage) -> Finished:
            return stage.finished("failed")

        async with fake_agent.fake_agent(nats_url, says_nothing), client.open(settings(nats_url)) as house:
            assert await kinds(await house.submit("assistant", "hello")) == []


class TestResult:
    async def test_it_is_the_one_outcome(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(settings(nats_url)) as house:
            outcome = await house.ask("assistant", "primes?", deadline_s=10)
            assert (outcome.state, outcome.text) == ("completed", fake_agent.ANSWER)

    async def test_it_is_there_although_the_task_was_finished_before_anybody_waited(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(settings(nats_url)) as house:
            ticket = await house.submit("assistant", "primes?")
            await kinds(ticket)
            await ticket.result(20)
        async with client.open(settings(nats_url)) as house:
            assert (await house.ticket(ticket.task_id).result(20)).text == fake_agent.ANSWER

    async def test_a_deadline_ends_the_wait_and_says_how_to_go_on(self, nats_url: str) -> None:
        never = fake_agent.never_answers
        async with fake_agent.fake_agent(nats_url, never), client.open(settings(nats_url)) as house:
            ticket = await house.submit("assistant", "primes?")
            with pytest.raises(DeadlineExceeded, match=f"watch --task {ticket.task_id}"):
                await ticket.result(0.3)

    async def test_it_is_found_when_the_server_was_restarted_meanwhile(
        self, nats_url: str, nats_server: NatsServer
    ) -> None:
        go_on = asyncio.Event()

        async def waits(stage: fake_agent.Stage) -> Finished:
            await go_on.wait()
            return await fake_agent.answers(stage)

        async with fake_agent.fake_agent(nats_url, waits), client.open(settings(nats_url)) as house:
            ticket = await house.submit("assistant", "primes?")
            waiting = asyncio.create_task(ticket.result(30))
            await asyncio.sleep(0.2)
            nats_server.kill()
            nats_server.start()
            await asyncio.sleep(0.5)
            go_on.set()
            assert (await waiting).state == "completed"


class TestInterrupt:
    async def test_it_reaches_the_run_and_the_outcome_says_so(self, nats_url: str) -> None:
        play = fake_agent.waits_to_be_interrupted
        async with fake_agent.fake_agent(nats_url, play), client.open(settings(nats_url)) as house:
            ticket = await house.submit("assistant", "wait")
            async for heard in ticket.events():
                if heard.event.type == "reply_start":
                    await ticket.interrupt("enough")
            outcome = await ticket.result(20)
            assert (outcome.state, outcome.text) == ("interrupted", "so far")

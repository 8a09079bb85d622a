"""What is refused before it is sent, and what an id means."""

import pytest

from natscope import client
from natscope.bus import BusSettings
from natscope.client.attaching import MAX_FILE_BYTES, Attachment
from natscope.contracts.errors import AgentNotFound, BodyInvalid, BodyTooLarge, TaskConflict
from tests.integration.client import fake_agent

LARGE = Attachment("large.bin", b"x" * 100_000)


async def submitted(house: client.House) -> int:
    return (await house.bus.js.stream_info("LANES")).state.messages


class TestRefusals:
    async def test_an_unknown_agent_is_refused_with_the_known_ones_and_nothing_is_sent(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(BusSettings(url=nats_url)) as house:
            for name in ("asistant", "no.such", "", "*"):
                with pytest.raises(AgentNotFound, match="there are: assistant"):
                    await house.submit(name, "hello")
            assert await submitted(house) == 0

    async def test_where_no_agent_is_applied_it_says_so(self, nats_url: str) -> None:
        async with client.open(BusSettings(url=nats_url)) as house:
            with pytest.raises(AgentNotFound, match="there are: none"):
                await house.submit("assistant", "hello")

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"session": "a session"}, "session: "),
            ({"task_id": "x" * 65}, "task_id: "),
            ({"content": []}, "content: "),
            ({"content": " \n"}, "the task is empty"),
            ({"files": ["/nowhere/a.csv"]}, "cannot be read: No such file"),
            ({"files": ["/"]}, "cannot be read: Is a directory"),
            ({"files": [Attachment("a", b""), Attachment("a", b"")]}, "two files are named 'a'"),
            ({"files": [Attachment("../../etc/passwd", b"")]}, "name: "),
        ],
    )
    async def test_a_wrong_task_is_refused_with_the_field(
        self, nats_url: str, wrong: dict[str, object], said: str
    ) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(BusSettings(url=nats_url)) as house:
            arguments: dict[str, object] = {"agent": "assistant", "content": "hello", **wrong}
            with pytest.raises(BodyInvalid, match=said):
                await house.submit(**arguments)  # pyright: ignore[reportArgumentType]
            assert await submitted(house) == 0

    async def test_what_is_too_large_is_refused_with_both_sizes(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(BusSettings(url=nats_url)) as house:
            with pytest.raises(BodyTooLarge, match=r"20,000,\d\d\d bytes; 16,777,216 are allowed"):
                await house.submit("assistant", "x" * 20_000_000)
            with pytest.raises(BodyTooLarge, match=r"'a.bin' has 67,108,865 bytes"):
                await house.submit("assistant", "?", files=[Attachment("a.bin", bytes(MAX_FILE_BYTES + 1))])

    async def test_a_long_question_below_that_arrives_whole(self, nats_url: str) -> None:
        play = fake_agent.echoes
        async with fake_agent.fake_agent(nats_url, play), client.open(BusSettings(url=nats_url)) as house:
            outcome = await house.ask("assistant", "x" * 3_000_000, deadline_s=20)
            assert outcome.text == "x" * 3_000_000


class TestOneId:
    async def test_sent_again_while_it_runs_it_is_one_task(self, nats_url: str) -> None:
        play = fake_agent.waits_to_be_interrupted
        async with fake_agent.fake_agent(nats_url, play), client.open(BusSettings(url=nats_url)) as house:
            for stream in (False, True):
                ticket = await house.submit("assistant", "wait", task_id="t1", files=[LARGE], stream=stream)
            assert await submitted(house) == 1
            await ticket.interrupt()
            assert (await ticket.result(10)).state == "interrupted"

    async def test_sent_again_when_it_is_finished_it_has_its_outcome_and_does_not_run_again(
        self, nats_url: str
    ) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(BusSettings(url=nats_url)) as house:
            first = await (await house.submit("assistant", "primes?", task_id="t1", files=[LARGE])).result(10)
            again = await (await house.submit("assistant", "primes?", task_id="t1", files=[LARGE])).result(10)
            assert again == first
            assert (await house.bus.js.stream_info("LANES")).state.last_seq == 1

    @pytest.mark.parametrize("finished", [False, True])
    async def test_used_for_another_task_it_is_a_conflict_and_the_first_stands(
        self, nats_url: str, finished: bool
    ) -> None:
        play = fake_agent.answers if finished else fake_agent.waits_to_be_interrupted
        async with fake_agent.fake_agent(nats_url, play), client.open(BusSettings(url=nats_url)) as house:
            ticket = await house.submit("assistant", "primes?", task_id="t1")
            if finished:
                await ticket.result(10)
            for other in ({"content": "odd ones?"}, {"content": "primes?", "files": [LARGE]}):
                with pytest.raises(TaskConflict, match="'t1' was used for another task"):
                    await house.submit("assistant", **other, task_id="t1")  # pyright: ignore[reportArgumentType]
            if not finished:
                await ticket.interrupt()
            assert (await ticket.result(10)).state == ("completed" if finished else "interrupted")

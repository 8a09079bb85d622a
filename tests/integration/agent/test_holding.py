"""Holding a run: kept alive while it works, taken over when it is not, buried when it kills whoever holds it."""

import asyncio
import json

import pytest

from natscope.bus.streams import RUNS
from natscope.client import Ticket, looking
from natscope.contracts import model
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import JournalNewer
from natscope.contracts.run import JOURNALED, Resumed
from natscope.contracts.task import SUBMIT_IN
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import House, call, house, reply
from tests.integration.agent.test_waiting import QUESTION, answers, decide, says_only, says_then, waiting


async def _entries(here: House, task_id: str) -> list[str]:
    kept = await looking.page(here.bus, "JOURNAL", JOURNALED.at(task_id))
    return [json.loads(message.data)["entry"] for message in kept]


async def _taken_over(here: House, task_id: str) -> None:
    """Return when another process has gone on with the task."""
    async with asyncio.timeout(30):
        while "resumed" not in await _entries(here, task_id):  # noqa: ASYNC110 - it can only be looked for
            await asyncio.sleep(0.1)


async def _delivered(here: House, *, times: int) -> None:
    """Return when the only task there is was delivered so often."""
    async with asyncio.timeout(30):
        while await _deliveries(here) < times:  # noqa: ASYNC110 - it can only be looked for
            await asyncio.sleep(0.1)


async def _deliveries(here: House) -> int:
    delivered = (await here.bus.js.consumer_info(SUBMIT_IN.stream, RUNS)).delivered
    return delivered.consumer_seq if delivered is not None else 0


class TestHoldingARun:
    async def test_longer_than_the_queue_waits_keeps_it(self, nats_url: str) -> None:
        async with house(nats_url, agents=2, beat_s=0.5) as here:
            here.tool_delay_s = 3.5
            outcome = await here.run("slow")
            assert outcome.state == "completed"
            assert "resumed" not in await _entries(here, outcome.task_id)

    async def test_without_a_sign_of_life_loses_it_and_still_does_nothing_twice(self, nats_url: str) -> None:
        async with house(nats_url, agents=2, beat_s=60) as here:
            here.tool_delay_s = 60
            task = await here.submit("slow")
            await _taken_over(here, task.task_id)
            here.closing.set()
            outcome = await here.outcome(task.task_id)
            entries = await _entries(here, outcome.task_id)
            assert "resumed" in entries
            assert entries.count("ended") == 1
            assert (len(here.asked), len(here.called)) == (2, 1)

    async def test_that_is_delivered_again_to_its_own_holder_goes_on_as_it_is(self, nats_url: str) -> None:
        async with house(nats_url, beat_s=60) as here:
            here.tool_delay_s = 60
            task = await here.submit("slow")
            await here.began.wait()
            await _delivered(here, times=3)
            here.closing.set()
            assert (await here.outcome(task.task_id)).state == "completed"
            assert "resumed" not in await _entries(here, task.task_id)
            assert (len(here.asked), len(here.called)) == (2, 1)

    async def test_that_is_delivered_again_to_who_lost_it_to_another_is_taken_over(self, nats_url: str) -> None:
        async with house(nats_url, beat_s=60) as here:
            here.tool_delay_s = 60
            task = await here.submit("slow")
            await here.began.wait()
            sequence = (await here.bus.js.get_last_msg("JOURNAL", JOURNALED.at(task.task_id))).seq or 0
            await here.bus.record(JOURNALED, Resumed(holder="another"), task.task_id, expect_last=sequence)
            async with asyncio.timeout(30):
                while (await _entries(here, task.task_id)).count("resumed") < 2:  # noqa: ASYNC110 - only looked for
                    await asyncio.sleep(0.1)
            here.closing.set()
            assert (await here.outcome(task.task_id)).state == "completed"
            assert (len(here.asked), len(here.called)) == (2, 1)

    async def test_that_went_to_and_fro_between_two_that_live_goes_on(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.tool_delay_s = 60
            body = await here.submit("slow")
            await here.began.wait()
            sequence = (await here.bus.js.get_last_msg("JOURNAL", JOURNALED.at(body.task_id))).seq or 0
            for holder in ("one", "another") * 6:
                sequence = await here.bus.record(JOURNALED, Resumed(holder=holder), body.task_id, expect_last=sequence)
            here.closing.set()
            await here.bus.nc.publish(f"task.submit.assistant.{body.task_id}", body.model_dump_json().encode())
            assert (await here.outcome(body.task_id)).state == "completed"

    @pytest.mark.parametrize(
        ("holders", "why"),
        [
            ([f"h{n}" for n in range(6)], "lost its worker 6 times"),
            (["one", "another"] * 25, "changed hands 51 times"),
        ],
        ids=["by those that died", "by those that live"],
    )
    async def test_that_was_lost_again_and_again_without_a_step_is_given_up_and_buried(
        self, nats_url: str, holders: list[str], why: str
    ) -> None:
        async with house(nats_url) as here:
            buried = await here.bus.nc.subscribe("task.buried.*")
            here.tool_delay_s = 60
            body = await here.submit("poison", task_id="poison")
            await here.began.wait()
            sequence = (await here.bus.js.get_last_msg("JOURNAL", JOURNALED.at(body.task_id))).seq or 0
            for holder in holders:
                sequence = await here.bus.record(JOURNALED, Resumed(holder=holder), body.task_id, expect_last=sequence)
            here.called.clear()
            await here.bus.nc.publish(f"task.submit.assistant.{body.task_id}", body.model_dump_json().encode())
            outcome = await here.outcome(body.task_id)
            assert outcome.failure is not None
            assert (outcome.state, outcome.failure.code) == ("failed", "run_poisoned")
            assert why in outcome.failure.message
            told = json.loads((await buried.next_msg(timeout=20)).data)
            assert (told["task_id"], told["failure"]["code"]) == ("poison", "run_poisoned")
            assert here.called == []

    async def test_that_ended_is_answered_from_its_journal(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("What is 2+2?", task_id="known")
            await here.bus.js.purge_stream("RESULTS")
            body = {"task_id": "known", "content": "What is 2+2?"}
            await here.bus.nc.publish("task.submit.assistant.known", json.dumps(body).encode())
            assert await here.outcome("known") == outcome
            await asyncio.sleep(0.2)
            assert (len(here.asked), len(here.called)) == (2, 1)

    async def test_whose_calls_returned_before_its_reply_was_written_asks_the_same_again(self, nats_url: str) -> None:
        """The next holder must ask the model the very same, or it would pay twice, or be refused."""

        async with house(nats_url, agents=2, beat_s=60) as here:

            async def four_at_once(asked: model.Chat) -> model.Chatted:
                if asked.messages[-1].role == "tool":
                    await _taken_over(here, "go")
                    return reply("done")
                return call(*(ToolUseBlock(id=f"c{n}", name="add", input={"a": n, "b": n}) for n in range(4)))

            here.mind = four_at_once
            outcome = await here.run("Go.", task_id="go")
            assert (outcome.state, outcome.text) == ("completed", "done")
            assert (len(here.asked), len(here.called)) == (2, 4)


class TestAJournal:
    @pytest.mark.parametrize("entry", [{"entry": "teleported"}, {"entry": "resumed", "holder": "a", "version": 2}])
    async def test_of_a_later_version_is_left_to_a_service_that_knows_it(
        self, nats_url: str, entry: dict[str, object]
    ) -> None:
        async with house(nats_url, agents=0) as here:
            here.external, here.mind = True, says_then(QUESTION)
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Ask them.", session="s1")
                (wait,) = await waiting(here, task)
            ack = await here.bus.js.publish(JOURNALED.at(task.task_id), json.dumps(entry).encode())
            await decide(here, task, *answers([wait], "forty-two"))
            ticket = Ticket(here.bus, task.task_id)
            with pytest.raises(JournalNewer, match="is of a later version"):
                await ticket.waiting()
            async with app(Settings(), bus=here.settings):
                here.mind = says_only
                assert (await here.run("And that?", session="s2")).text == "said"
                assert await ticket.outcome() is None
                here.mind = says_then(QUESTION)
                await here.bus.js.delete_msg("JOURNAL", ack.seq)
                outcome = await here.outcome(task.task_id)
        assert (outcome.text, len(here.asked)) == ("forty-two", 3)

    async def test_that_holds_what_is_no_entry_is_buried_with_its_task(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            await here.bus.js.publish(JOURNALED.at("t1"), b"no entry")
            buried = await here.bus.nc.subscribe("task.buried.*")
            await here.submit("Add.", task_id="t1")
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome("t1")
            await buried.next_msg(timeout=20)
        assert outcome.failure is not None
        assert (outcome.failure.code, here.asked) == ("run_poisoned", [])
        assert "holds what is no entry" in outcome.failure.message

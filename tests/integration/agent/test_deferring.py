"""Tasks with a time before which they must not begin."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from natscope import client
from natscope.bus.ledger import latest
from natscope.client import Ticket
from natscope.contracts.contract import new_id, now
from natscope.contracts.errors import BodyInvalid, Unavailable
from natscope.contracts.task import DEFER, INTERRUPT, STEER, Finished, Interrupt, Steer
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import House, house
from tests.nats_server import NatsServer


def soon(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


async def set_aside(here: House, task_id: str) -> None:
    """Return when a task is set aside."""
    async with asyncio.timeout(30):
        while await latest(here.bus, DEFER.stream, DEFER.at("assistant", task_id)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def patiently(ticket: Ticket) -> Finished:
    """Return the outcome of a task, also while the connection is down."""
    async with asyncio.timeout(30):
        while True:
            with suppress(Unavailable):
                if (outcome := await ticket.outcome()) is not None:
                    return outcome
            await asyncio.sleep(0.05)


class TestATaskWithATime:
    async def test_begins_no_earlier(self, nats_url: str) -> None:
        async with house(nats_url, agents=2) as here:
            at = soon(1.0)
            outcome = await here.run("What is 2+2?", not_before=at)
        assert outcome.text == "It is 4."
        assert outcome.started_at >= at
        assert len(here.called) == 1

    async def test_that_has_passed_begins_at_once(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("What is 2+2?", not_before=soon(-3600))
        assert outcome.state == "completed"

    async def test_is_published_by_hand_too(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            at = soon(0.7)
            body = {"task_id": "by-hand", "content": "What is 2+2?", "not_before": at.isoformat()}
            await here.bus.nc.publish("task.submit.assistant", json.dumps(body).encode())
            outcome = await here.outcome("by-hand")
        assert outcome.started_at >= at

    async def test_stands_in_the_way_of_no_other_of_its_session(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await here.submit("Later.", session="s", not_before=soon(3600))
            outcome = await here.run("Now.", session="s")
        assert outcome.state == "completed"

    async def test_outlives_every_process_that_could_carry_it_out(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            async with app(Settings(), bus=here.settings):
                task = await here.submit("What is 2+2?", not_before=soon(2.5))
                await set_aside(here, task.task_id)
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert task.not_before is not None
        assert (outcome.state, outcome.started_at >= task.not_before) == ("completed", True)

    async def test_is_interrupted_before_it_begins(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            task = await here.submit("Never.", not_before=soon(3600))
            await set_aside(here, task.task_id)
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
            left = await here.bus.js.stream_info(DEFER.stream)
        assert (outcome.state, here.asked, left.state.messages) == ("interrupted", [], 0)

    async def test_is_interrupted_while_no_process_was_there(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            task = await here.submit("Never.", not_before=soon(3600))
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert (outcome.state, here.asked) == ("interrupted", [])

    async def test_hears_what_it_was_told_meanwhile(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            task = await here.submit("What is 2+2?", not_before=soon(2.0))
            await here.bus.submit(STEER, Steer.model_validate({"content": "Quick."}), task.task_id, message_id=new_id())
            await here.outcome(task.task_id)
        assert here.asked[0].messages[-1].text == "Quick."

    async def test_submitted_again_is_one_task_and_with_another_body_a_conflict(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            buried = await here.bus.nc.subscribe("task.buried.*")
            at = soon(3600)
            for content in ("Do.", "Do.", "Do something else."):
                body = {"task_id": "t", "content": content, "not_before": at.isoformat()}
                await here.bus.nc.publish("task.submit.assistant", json.dumps(body).encode())
            told = json.loads((await buried.next_msg(timeout=20)).data)
            kept = await here.bus.js.stream_info(DEFER.stream)
        assert (told["failure"]["code"], json.loads(told["body"])["content"]) == ("task_conflict", "Do something else.")
        assert kept.state.messages == 1

    async def test_that_is_too_far_ahead_fails_with_its_reason(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("Do.", not_before=datetime(9999, 1, 1, tzinfo=UTC))
        assert outcome.failure is not None
        assert outcome.failure.code == "body_invalid"

    async def test_whose_body_is_none_is_buried(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await here.bus.nc.publish(DEFER.at("assistant", "odd"), b"{}")
            outcome = await here.outcome("odd")
        assert outcome.failure is not None
        assert outcome.failure.code == "body_invalid"

    async def test_outlives_the_server(self, nats_server: NatsServer, nats_url: str) -> None:
        async with house(nats_url) as here:
            task = await here.submit("What is 2+2?", not_before=soon(2.5))
            await set_aside(here, task.task_id)
            nats_server.kill()
            nats_server.start()
            outcome = await patiently(Ticket(here.bus, task.task_id))
        assert task.not_before is not None
        assert (outcome.state, outcome.started_at >= task.not_before) == ("completed", True)


class TestAClient:
    async def test_lists_it_and_steers_it(self, nats_url: str) -> None:
        async with house(nats_url) as here, client.open(here.settings) as guest:
            at = soon(3600)
            ticket = await guest.submit("assistant", "Later.", session="s", not_before=at)
            await set_aside(here, ticket.task_id)
            (found,) = await guest.unfinished()
            await Ticket(guest.bus, ticket.task_id).steer("And quick.")
        assert (found.task_id, found.session, found.not_before) == (ticket.task_id, "s", at)

    @pytest.mark.parametrize("days", [-2, 29])
    async def test_is_refused_a_time_that_is_long_ago_or_too_far(self, nats_url: str, days: int) -> None:
        async with house(nats_url, agents=0) as here, client.open(here.settings) as guest:
            with pytest.raises(BodyInvalid):
                await guest.submit("assistant", "Do.", not_before=soon(86_400 * days))
            assert await guest.unfinished() == []

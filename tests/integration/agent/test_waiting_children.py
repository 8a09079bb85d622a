"""Runs whose children wait for a person: who only knows the parent finds the call and decides on it there."""

import asyncio
import json

import pytest

from natscope.client import Ticket, looking
from natscope.contracts import event, model
from natscope.contracts.approval import DECIDE, Decision
from natscope.contracts.blocks import ToolUseBlock, plain, text_of
from natscope.contracts.errors import DecisionStale
from natscope.contracts.task import Submit
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import House, call, house, reply
from tests.integration.agent.test_asking_agents import asks, lead, other, results
from tests.integration.agent.test_functions import agents, spec
from tests.integration.agent.test_telling import forgets_soon, forgotten, ids, kept
from tests.integration.agent.test_waiting import QUESTION, waiting

CAREFUL = {"tools": ["add"], "permissions": {"rules": [{"tool": "add", "behaviour": "ask"}]}}
FAMILY = (lead("middle"), other("middle", agents=["careful"]), other("careful", **CAREFUL))


def plays(here: House, *, below: ToolUseBlock = QUESTION) -> None:
    """Have the lead ask the one in the middle, which asks the careful one, which wants to add."""
    first = {"assistant": asks("middle", "Go."), "middle": asks("careful", "Go."), "careful": below}

    async def mind(asked: model.Chat) -> model.Chatted:
        if not results(asked):
            return call(first[asked.agent or ""])
        return reply(text_of(results(asked)[-1].output))

    here.mind = mind


async def heard(here: House, task: Submit) -> event.ChildWaits:
    """Return what a task is told of another that it has asked, once that waits for somebody."""
    async with asyncio.timeout(20):
        async for item in Ticket(here.bus, task.task_id).events():
            if isinstance(item.event, event.ChildWaits):
                return item.event
    raise AssertionError("it ended before")


class TestATaskWhoseChildWaits:
    async def test_shows_what_waits_and_where_however_deep(self, nats_url: str) -> None:
        async with house(nats_url, *FAMILY) as here:
            plays(here)
            task = await here.submit("Find out.")
            said = await heard(here, task)
            (wait,) = await Ticket(here.bus, task.task_id).waiting()
            (below,) = await Ticket(here.bus, said.child).waiting()
        child = f"{task.task_id}-t1-0-t1-0"
        assert (said.agent, said.child, said.waiting) == ("careful", child, [wait])
        assert (wait.child, wait.kind, wait.call) == (child, "approval", QUESTION)
        assert below == wait.model_copy(update={"child": None})

    async def test_is_decided_on_by_who_knows_only_the_parent_and_once(self, nats_url: str) -> None:
        async with house(nats_url, *FAMILY) as here:
            plays(here)
            task = await here.submit("Find out.")
            await heard(here, task)
            ticket = Ticket(here.bus, task.task_id)
            (wait,) = await ticket.waiting()
            with pytest.raises(DecisionStale, match=wait.call_id):
                await ticket.decide(Decision(call_id="another", verdict="approve"))
            await ticket.decide(Decision(call_id=wait.call_id, verdict="approve"))
            outcome = await ticket.result(20)
            with pytest.raises(DecisionStale):
                await ticket.decide(Decision(call_id=wait.call_id, verdict="deny"))
            assert await ticket.waiting() == []
        assert (outcome.state, outcome.text, len(here.called)) == ("completed", "3", 1)

    async def test_goes_on_after_a_plain_publish_to_the_child_that_its_event_names(self, nats_url: str) -> None:
        async with house(nats_url, *FAMILY) as here:
            plays(here)
            task = await here.submit("Find out.")
            said = await heard(here, task)
            yes = {"decisions": [{"call_id": said.waiting[0].call_id, "verdict": "approve"}]}
            await here.bus.js.publish(DECIDE.at(said.child), json.dumps(yes).encode())
            assert (await here.outcome(task.task_id)).text == "3"

    async def test_that_waits_itself_shows_its_own_call_first(self, nats_url: str) -> None:
        first = lead("careful", **CAREFUL)
        async with house(nats_url, first, other("careful", **CAREFUL)) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                if results(asked):
                    return reply(" and ".join(text_of(each.output) for each in results(asked)))
                return call(asks("careful", "Go.", "c2"), QUESTION) if asked.agent == "assistant" else call(QUESTION)

            here.mind = mind
            task = await here.submit("Find out.")
            await heard(here, task)
            ticket = Ticket(here.bus, task.task_id)
            both = await ticket.waiting()
            yes, no = (
                Decision.model_validate({"call_id": each.call_id, "verdict": v})
                for each, v in zip(both, ("deny", "approve"), strict=True)
            )
            await ticket.decide(no, yes)
            outcome = await ticket.result(20)
        assert [each.child for each in both] == [None, f"{task.task_id}-t1-0"]
        assert outcome.text == "3 and The call was denied."

    async def test_may_be_a_function_that_asks(self, nats_url: str) -> None:
        async with (
            house(nats_url, spec("crowds", agents=["one"]), other("one", **CAREFUL), agents=0) as here,
            agents(here),
        ):

            async def mind(asked: model.Chat) -> model.Chatted:
                return reply("done") if results(asked) else call(QUESTION)

            here.mind = mind
            task = await here.submit("Go.")
            said = await heard(here, task)
            assert said.waiting[0].call_id in {each.call_id for each in await Ticket(here.bus, task.task_id).waiting()}

    async def test_is_told_nothing_where_nobody_waits_for_a_person(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), other("one")) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                return reply("done") if results(asked) or asked.agent == "one" else call(asks("one", "Go."))

            here.mind = mind
            outcome = await here.run("Go.")
            told = [item.event.type async for item in Ticket(here.bus, outcome.task_id).events()]
        assert "delegated" in told
        assert "child_waits" not in told


class TestARunThatWasParkedByAProcessThatDiedBeforeItToldSo:
    async def test_is_told_of_once_by_whoever_takes_it_over(self, nats_url: str) -> None:
        async with house(nats_url, lead("careful"), other("careful", **CAREFUL), agents=0) as here:
            await forgets_soon(here.bus)
            here.mind = _asks_and_adds
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Find out.")
                said = await heard(here, task)
                (wait,) = await waiting(here, Submit(task_id=said.child, content=plain("Go.")))
            for task_id, kind in ((said.child, "approval_needed"), (task.task_id, "child_waits")):
                (lost,) = [each for each in await kept(here.bus, task_id) if json.loads(each.data)["type"] == kind]
                await here.bus.js.delete_msg("EVENTS", looking.sequence_of(lost))
            for _ in range(2):
                await forgotten(here.bus)
                async with app(Settings(), bus=here.settings):
                    assert (await heard(here, task)).id == said.id
                    assert await waiting(here, Submit(task_id=said.child, content=plain("Go."))) == [wait]
            await forgotten(here.bus)
            async with app(Settings(), bus=here.settings):
                await Ticket(here.bus, task.task_id).decide(Decision(call_id=wait.call_id, verdict="approve"))
                outcome = await here.outcome(task.task_id)
            above, below = await ids(here.bus, task.task_id), await ids(here.bus, said.child)
        assert outcome.text == "3"
        assert (len(above), len(below)) == (len(set(above)), len(set(below)))


async def _asks_and_adds(asked: model.Chat) -> model.Chatted:
    if results(asked):
        return reply(text_of(results(asked)[-1].output))
    return call(asks("careful", "Go.")) if asked.agent == "assistant" else call(QUESTION)

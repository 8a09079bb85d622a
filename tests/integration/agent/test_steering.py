"""Steering: what is said to a run from outside, before its next model call or instead of what is under way."""

import asyncio

import pytest

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import FileBlock, ToolResultBlock, ToolUseBlock, plain, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid, TaskNotFound, TaskOver
from natscope.contracts.task import INTERRUPT, STEER, Interrupt, Steer, Submit
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import SPEC, House, call, house, reply
from tests.integration.agent.test_waiting import QUESTION, answers, decide, says_then, waiting

SLOW = ToolUseBlock(id="c1", name="add", input={"a": 1, "b": 2}, raw_input='{"a": 1, "b": 2}')


async def steer(here: House, task: Submit, text: str, *, redirect: bool = False) -> None:
    await Ticket(here.bus, task.task_id).steer(text, redirect=redirect)


def heard(asked: model.Chat) -> list[str]:
    """Return what the user has said in what the model was asked."""
    return [text_of(message.content) for message in asked.messages if message.role == "user"]


async def calls_then_tells(asked: model.Chat) -> model.Chatted:
    """A model that calls a tool until it has a result, and then says what it was told."""
    if not any(isinstance(block, ToolResultBlock) for message in asked.messages for block in message.content):
        return call(SLOW)
    return reply(" / ".join(heard(asked)))


class TestAMessage:
    async def test_is_heard_in_the_next_model_call(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 0.5
            task = await here.submit("Add them.")
            await here.began.wait()
            await steer(here, task, "In French.")
            outcome = await here.outcome(task.task_id)
        assert (outcome.state, outcome.text) == ("completed", "Add them. / In French.")
        assert [heard(asked) for asked in here.asked] == [["Add them."], ["Add them.", "In French."]]
        assert len(here.called) == 1

    async def test_keeps_a_run_going_that_was_about_to_end(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            thinking, go_on = asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                thinking.set()
                await go_on.wait()
                return reply(" / ".join(heard(asked)))

            here.mind = mind
            task = await here.submit("Say it.")
            await thinking.wait()
            await steer(here, task, "And again.")
            go_on.set()
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, outcome.model_calls) == ("Say it. / And again.", 2)

    async def test_that_came_before_its_turn_is_heard_in_the_first_call(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            here.mind = lambda asked: _say(" / ".join(heard(asked)))
            task = await here.submit("One.")
            await steer(here, task, "Two.")
            await steer(here, task, "Three.")
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert (outcome.text, outcome.model_calls) == ("One. / Two. / Three.", 1)

    async def test_said_while_nobody_held_the_run_is_heard_once_by_its_next_holder(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            here.external, here.mind = True, _waits_then_tells
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Ask them.")
                (wait,) = await waiting(here, task)
            await steer(here, task, "In French.")
            await decide(here, task, *answers([wait], "forty-two"))
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.text == "Ask them. / In French."

    async def test_leaves_the_call_under_way_as_it_was_asked_so_that_it_is_paid_once(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            thinking, go_on = asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                thinking.set()
                await go_on.wait()
                return reply(" / ".join(heard(asked)))

            here.mind = mind
            async with app(Settings(), bus=here.settings):
                task = await here.submit("One.")
                await thinking.wait()
            await steer(here, task, "Two.")
            async with app(Settings(), bus=here.settings):
                go_on.set()
                outcome = await here.outcome(task.task_id)
        assert [(asked.request_id, heard(asked)) for asked in here.asked] == [
            (f"{task.task_id}-m1", ["One."]),
            (f"{task.task_id}-m2", ["One.", "Two."]),
        ]
        assert outcome.text == "One. / Two."

    async def test_stays_in_the_session_and_is_told_as_an_event(self, nats_url: str) -> None:
        async with house(nats_url, real_memory=True) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 0.5
            task = await here.submit("Add them.", session="s")
            await here.began.wait()
            await steer(here, task, "In French.")
            await here.outcome(task.task_id)
            told = [item.event async for item in Ticket(here.bus, task.task_id).events()]
            again = await here.run("What did I say?", session="s")
        assert [text_of(said.message.content) for said in told if isinstance(said, event.Steered)] == ["In French."]
        assert again.text.startswith("Add them. / In French. / What did I say?")

    async def test_brings_a_file_into_the_workspace(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind, here.tool_delay_s = _twice, 0.3
            task = await here.submit("Look at it.")
            await here.began.wait()
            source = await here.bus.blobs.source(b"a,b", "text/csv")
            file = FileBlock(name="new.csv", source=source)
            await Ticket(here.bus, task.task_id).steer([*plain("Look at this too."), file])
            await here.outcome(task.task_id)
        assert [[file.name for file in asked.files] for asked in here.called] == [[], ["new.csv"]]


class TestARedirection:
    async def test_stops_a_tool_and_the_model_goes_on_with_what_was_said(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 30
            task = await here.submit("Add them.")
            await here.began.wait()
            began = asyncio.get_running_loop().time()
            await steer(here, task, "Never mind.", redirect=True)
            outcome = await here.outcome(task.task_id)
            spent = asyncio.get_running_loop().time() - began
        results = [block for message in here.asked[-1].messages for block in message.content if _is_result(block)]
        assert (outcome.state, outcome.text) == ("completed", "Add them. / Never mind.")
        assert [block.state for block in results if isinstance(block, ToolResultBlock)] == ["interrupted"]
        assert [subject.split(".")[0] for subject in here.cancelled] == ["tool"]
        assert spent < 10

    async def test_is_one_although_it_is_heard_and_found_in_its_stream(self, nats_url: str) -> None:
        async with house(nats_url, beat_s=0.001) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 30
            task = await here.submit("Add them.")
            await here.began.wait()
            await steer(here, task, "Never mind.", redirect=True)
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, len(here.asked)) == ("Add them. / Never mind.", 2)
        assert [subject.split(".")[0] for subject in here.cancelled] == ["tool"]

    async def test_stops_the_model_and_asks_it_anew(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            thinking = asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if len(heard(asked)) == 1:
                    thinking.set()
                    await here.work(30)
                return reply(" / ".join(heard(asked)))

            here.mind = mind
            task = await here.submit("Go left.")
            await thinking.wait()
            await steer(here, task, "Go right.", redirect=True)
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, outcome.model_calls) == ("Go left. / Go right.", 1)
        assert len({asked.request_id for asked in here.asked}) == 2
        assert here.cancelled == [f"model.cancelled.{here.asked[0].request_id}"]

    async def test_wakes_a_run_that_waits_for_a_decision(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(QUESTION)
            task = await here.submit("Ask them.")
            await waiting(here, task)
            here.mind = lambda asked: _say(" / ".join(heard(asked)))
            await steer(here, task, "Do not ask.", redirect=True)
            outcome = await here.outcome(task.task_id)
            assert await Ticket(here.bus, task.task_id).waiting() == []
        assert (outcome.state, outcome.text) == ("completed", "Ask them. / Do not ask.")

    async def test_wakes_it_although_no_agent_was_there_when_it_was_said(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            here.external, here.mind = True, says_then(QUESTION)
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Ask them.")
                await waiting(here, task)
            here.mind = lambda asked: _say(" / ".join(heard(asked)))
            await steer(here, task, "Do not ask.", redirect=True)
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.text == "Ask them. / Do not ask."

    async def test_gives_way_to_an_interrupt(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 30
            task = await here.submit("Add them.")
            await here.began.wait()
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            await here.bus.submit(
                STEER, Steer(content=plain("Never mind."), redirect=True), task.task_id, message_id=new_id()
            )
            outcome = await here.outcome(task.task_id)
        assert outcome.state == "interrupted"


class TestAClientThatInterrupts:
    async def test_is_told_that_nobody_knows_the_task(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            with pytest.raises(TaskNotFound, match="'nothing'"):
                await Ticket(here.bus, "nothing").interrupt()
            assert (await here.bus.js.stream_info("CONTROL")).state.messages == 0

    async def test_is_told_that_the_task_is_over(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("Add them.")
            with pytest.raises(TaskOver, match="is over"):
                await Ticket(here.bus, outcome.task_id).interrupt()

    async def test_reaches_one_that_waits_for_its_turn(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            task = await here.submit("Add them.")
            await Ticket(here.bus, task.task_id).interrupt()
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert (outcome.state, here.asked) == ("interrupted", [])


class TestWhoeverCannotBeSteered:
    async def test_is_a_task_nobody_knows(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            with pytest.raises(TaskNotFound, match="'nothing'"):
                await Ticket(here.bus, "nothing").steer("Hello.")

    async def test_is_told_nothing_that_is_empty(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 0.3
            task = await here.submit("Add them.")
            await here.began.wait()
            with pytest.raises(BodyInvalid, match="the message is empty"):
                await steer(here, task, " ")
            said = b'{"content": "", "redirect": true}'
            await here.bus.js.publish(STEER.at(task.task_id), said)
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, here.cancelled) == ("Add them.", [])

    async def test_is_a_task_that_is_over(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("Add them.")
            with pytest.raises(TaskOver, match="is over"):
                await Ticket(here.bus, outcome.task_id).steer("Wait!")

    async def test_hears_nothing_that_is_no_steering(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 0.3
            task = await here.submit("Add them.")
            await here.began.wait()
            await here.bus.js.publish(STEER.at(task.task_id), b"{]")
            outcome = await here.outcome(task.task_id)
        assert outcome.text == "Add them."

    async def test_is_at_its_limit(self, nats_url: str) -> None:
        spec = AgentSpec.model_validate(SPEC.model_dump() | {"limits": {"max_steps": 1}})
        async with house(nats_url, spec) as here:
            here.mind, here.tool_delay_s = calls_then_tells, 0.3
            task = await here.submit("Add them.")
            await here.began.wait()
            await steer(here, task, "In French.")
            outcome = await here.outcome(task.task_id)
        assert (outcome.limit, outcome.model_calls) == ("max_steps", 2)
        assert outcome.text.startswith("Add them. / In French. / The step limit is reached.")


async def _say(text: str) -> model.Chatted:
    return reply(text)


async def _twice(asked: model.Chat) -> model.Chatted:
    if sum(isinstance(block, ToolResultBlock) for message in asked.messages for block in message.content) < 2:
        return call(SLOW)
    return reply("Done.")


async def _waits_then_tells(asked: model.Chat) -> model.Chatted:
    if any(isinstance(block, ToolResultBlock) for message in asked.messages for block in message.content):
        return reply(" / ".join(heard(asked)))
    return call(QUESTION)


def _is_result(block: object) -> bool:
    return isinstance(block, ToolResultBlock)

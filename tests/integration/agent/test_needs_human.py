"""Runs that cannot go on by themselves: parked for a person, who may be asked days later by any replica."""

import asyncio
import json

import pytest

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import DECIDE, Decide, Decision
from natscope.contracts.blocks import ContentBlock, ToolUseBlock, plain
from natscope.contracts.errors import ArgumentsInvalid, BodyInvalid, DecisionStale, ModelUnavailable
from natscope.contracts.task import INTERRUPT, Interrupt
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import SPEC, call, house, reply
from tests.integration.agent.test_own_tools import ADDS, says
from tests.integration.agent.test_reasking import UNKNOWN, told
from tests.integration.agent.test_waiting import says_only, waiting


async def is_down(_: model.Chat) -> model.Chatted:
    raise ModelUnavailable("'default' answered 503 after 4 tries")


def helped(**needs: object) -> AgentSpec:
    return AgentSpec.model_validate(SPEC.model_dump() | {"on_failure": "needs_human", "needs_human": needs})


class TestARunWhoseModelIsDown:
    async def test_fails_where_nobody_is_to_be_asked(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind = is_down
            outcome = await here.run("Add.")
        assert outcome.failure is not None
        assert (outcome.state, outcome.failure.code) == ("failed", "model_unavailable")

    async def test_waits_delays_no_other_and_goes_on_when_it_is_tried_again(self, nats_url: str) -> None:
        async with house(nats_url, helped()) as here:
            here.mind = is_down
            task = await here.submit("Add.", session="s1")
            (wait,) = await waiting(here, task)
            here.mind = says_only
            assert (await here.run("And that?", session="s2")).text == "said"
            ticket = Ticket(here.bus, task.task_id)
            assert await ticket.waiting() == [wait]
            await ticket.decide(Decision(call_id=wait.call_id, verdict="retry"))
            outcome = await here.outcome(task.task_id)
            with pytest.raises(DecisionStale):
                await ticket.decide(Decision(call_id=wait.call_id, verdict="abort"))
        assert wait.trouble is not None
        assert (wait.kind, wait.trouble.failure.code) == ("needs_human", "model_unavailable")
        assert [each.tier for each in wait.trouble.tried] == [1]
        assert (outcome.state, outcome.text) == ("completed", "said")

    async def test_is_answered_for_by_a_plain_publish_while_no_agent_was_there(self, nats_url: str) -> None:
        async with house(nats_url, helped(), agents=0) as here:
            here.mind = is_down
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Add.", session="s1")
                (wait,) = await waiting(here, task)
            said = {"decisions": [{"call_id": wait.call_id, "verdict": "answer", "output": "It is 4."}], "by": "ann"}
            await here.bus.js.publish(DECIDE.at(task.task_id), json.dumps(said).encode())
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
            events = await told(here, task.task_id)
            kept = here.sessions["s1"]
        assert (outcome.state, outcome.text) == ("completed", "It is 4.")
        assert [each.text for each in events if isinstance(each, event.TextEnd)] == ["It is 4."]
        assert [(message.role, message.text) for message in kept] == [("user", "Add."), ("assistant", "It is 4.")]

    async def test_goes_on_with_a_changed_message(self, nats_url: str) -> None:
        async with house(nats_url, helped()) as here:
            here.mind = is_down
            task = await here.submit("Ad.")
            (wait,) = await waiting(here, task)
            here.mind = says_only
            edit = Decision(call_id=wait.call_id, verdict="edit", output=plain("Add."))
            await Ticket(here.bus, task.task_id).decide(edit)
            await here.outcome(task.task_id)
        assert here.asked[-1].messages[-1].text == "Add."

    async def test_takes_what_fits_and_once_only(self, nats_url: str) -> None:
        async with house(nats_url, helped(), agents=0) as here:
            here.mind = is_down
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Add.")
                (wait,) = await waiting(here, task)
            ticket = Ticket(here.bus, task.task_id)
            for wrong in ("approve", "answer", "edit"):
                with pytest.raises(BodyInvalid, match="waits for help"):
                    await ticket.decide(Decision(call_id=wait.call_id, verdict=wrong))  # pyright: ignore[reportArgumentType]
            await ticket.decide(Decision(call_id=wait.call_id, verdict="abort", reason="never mind"), by="ann")
            with pytest.raises(DecisionStale, match="'ann' has decided"):
                await ticket.decide(Decision(call_id=wait.call_id, verdict="retry"))
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.failure is not None
        assert (outcome.state, outcome.failure.code) == ("failed", "model_unavailable")
        assert outcome.failure.details["aborted"] == {"by": "ann", "reason": "never mind"}

    async def test_ends_as_declared_when_nobody_helps_in_time(self, nats_url: str) -> None:
        async with house(nats_url, helped(wait=0.2, unanswered="retry")) as here:
            here.mind = is_down
            outcome = await here.run("Add.")
        assert outcome.failure is not None
        assert (outcome.state, len(here.asked)) == ("failed", 2)
        assert outcome.failure.details["aborted"] == {"by": "time", "reason": "nobody has decided in time"}

    async def test_can_be_interrupted(self, nats_url: str) -> None:
        async with house(nats_url, helped()) as here:
            here.mind = is_down
            task = await here.submit("Add.")
            await waiting(here, task)
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id="i")
            assert (await here.outcome(task.task_id)).state == "interrupted"


SUM = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}


def finishes(**answer: object) -> list[ContentBlock]:
    return [ToolUseBlock.model_validate({"id": "f", "name": "finish", "input": answer})]


class TestAnAnswerInTheModelsPlaceOfAnAgentThatDeclaresWhatItLooksLike:
    SPEC = AgentSpec.model_validate(helped().model_dump() | {"output": {"json_schema": SUM}})

    async def test_is_refused_if_it_does_not_fit_and_the_run_goes_on_waiting(self, nats_url: str) -> None:
        async with house(nats_url, self.SPEC) as here:
            here.mind = is_down
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            ticket = Ticket(here.bus, task.task_id)
            for wrong in (finishes(sum="four"), finishes(), plain("It is 4.")):
                with pytest.raises(ArgumentsInvalid, match="is no answer of the agent's") as refused:
                    await ticket.decide(Decision(call_id=wait.call_id, verdict="answer", output=wrong))
                assert refused.value.details["schema"] == wait.output_schema == SUM
            assert await ticket.waiting() == [wait]
            await ticket.decide(Decision(call_id=wait.call_id, verdict="answer", output=finishes(sum=4)))
            outcome = await here.outcome(task.task_id)
        assert (outcome.state, outcome.output) == ("completed", {"sum": 4})

    async def test_is_passed_over_if_it_was_published_past_the_client(self, nats_url: str) -> None:
        async with house(nats_url, self.SPEC) as here:
            here.mind = is_down
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            for answer, by in ((finishes(sum="four"), "ann"), (finishes(sum=4), "bob"), (finishes(sum=5), "cleo")):
                wrong = Decision(call_id=wait.call_id, verdict="answer", output=answer)
                await here.bus.submit(DECIDE, Decide(decisions=[wrong], by=by), task.task_id, message_id=by)
            outcome = await here.outcome(task.task_id)
        assert outcome.output == {"sum": 4}
        assert outcome.message is not None
        assert outcome.message.metadata == {"by": "bob"}

    async def test_keeps_its_place_before_later_ones_while_nobody_can_tell_whether_it_fits(self, nats_url: str) -> None:
        async with house(nats_url, self.SPEC, beat_s=0.05) as here:
            here.mind, here.judges = is_down, False
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            first = Decision(call_id=wait.call_id, verdict="answer", output=finishes(sum=4))
            later = Decision(call_id=wait.call_id, verdict="abort")
            for each in (first, later):
                await here.bus.submit(DECIDE, Decide(decisions=[each]), task.task_id, message_id=each.verdict)
            async with asyncio.timeout(20):
                while len(here.judged) < 3:  # noqa: ASYNC110 - it is looked at again in between
                    await asyncio.sleep(0.02)
            here.judges = True
            assert (await here.outcome(task.task_id)).output == {"sum": 4}

    async def test_may_be_a_call_of_another_tool(self, nats_url: str) -> None:
        async with house(nats_url, self.SPEC) as here:
            here.mind = is_down
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            here.mind = says(call(*filter(lambda each: isinstance(each, ToolUseBlock), finishes(sum=4))))  # pyright: ignore[reportArgumentType]
            await Ticket(here.bus, task.task_id).decide(Decision(call_id=wait.call_id, verdict="answer", output=[ADDS]))
            outcome = await here.outcome(task.task_id)
        assert (outcome.output, len(here.called)) == ({"sum": 4}, 1)


class TestLeaveToFinish:
    async def test_is_refused_with_arguments_that_do_not_fit_and_the_run_goes_on_waiting(self, nats_url: str) -> None:
        rules = {"permissions": {"rules": [{"tool": "finish", "behaviour": "ask"}]}}
        spec = AgentSpec.model_validate(SPEC.model_dump() | {"output": {"json_schema": SUM}} | rules)
        (finish,) = finishes(sum=3)
        async with house(nats_url, spec) as here:
            here.mind = says(call(finish))  # pyright: ignore[reportArgumentType]
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            ticket = Ticket(here.bus, task.task_id)
            with pytest.raises(ArgumentsInvalid, match="sum"):
                await ticket.decide(Decision(call_id=wait.call_id, verdict="approve", arguments={"total": 4}))
            assert await ticket.waiting() == [wait]
            await ticket.decide(Decision(call_id=wait.call_id, verdict="approve", arguments={"sum": 4}))
            outcome = await here.outcome(task.task_id)
        assert outcome.output == {"sum": 4}


class TestARunWhoseModelMendsNothing:
    async def test_goes_on_with_the_calls_that_somebody_gives_for_it(self, nats_url: str) -> None:
        async with house(nats_url, helped()) as here:
            here.mind = says(*(call(UNKNOWN) for _ in range(3)), reply("4"))
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            answer = Decision(call_id=wait.call_id, verdict="answer", output=[ADDS])
            await Ticket(here.bus, task.task_id).decide(answer)
            outcome = await here.outcome(task.task_id)
        assert wait.trouble is not None
        assert [each.tier for each in wait.trouble.tried] == [2, 3, 3]
        assert (outcome.state, outcome.text, len(here.called)) == ("completed", "4", 1)

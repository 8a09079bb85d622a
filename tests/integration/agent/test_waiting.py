"""Runs that wait for somebody: parked without a holder, and gone on with by whoever is there."""

import asyncio
from collections.abc import Iterable

import pytest

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import DECIDE, Decide, Decision, Rule, Waiting
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, plain, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid, DecisionStale, TaskNotFound
from natscope.contracts.event import HAPPENED
from natscope.contracts.task import INTERRUPT, Interrupt, Submit
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import SPEC, House, Model, call, house, reply
from tests.integration.agent.test_own_tools import results, says

QUESTION = ToolUseBlock(id="c1", name="add", input={"a": 1, "b": 2}, raw_input='{"a": 1, "b": 2}')


def says_then(*calls: ToolUseBlock) -> Model:
    """Return a model that calls an external tool first, and then says what came of it."""

    async def mind(asked: model.Chat) -> model.Chatted:
        results = [block for block in asked.messages[-1].content if isinstance(block, ToolResultBlock)]
        if not results:
            return call(*calls)
        return reply(" and ".join(text_of(block.output) for block in results))

    return mind


async def waiting(here: House, task: Submit) -> list[Waiting]:
    """Return what the task waits with, once it does."""
    subscription = await here.bus.js.subscribe(HAPPENED.at(task.task_id), ordered_consumer=True)
    async with asyncio.timeout(20):
        while True:
            said = await here.bus.read(HAPPENED, await subscription.next_msg(timeout=20))
            if isinstance(said, event.ApprovalNeeded):
                await subscription.unsubscribe()
                return said.waiting


async def decide(here: House, task: Submit, *decisions: Decision) -> None:
    await here.bus.submit(DECIDE, Decide(decisions=list(decisions)), task.task_id, message_id=new_id())


def answers(waits: Iterable[Waiting], *texts: str) -> list[Decision]:
    pairs = zip(waits, texts, strict=True)
    return [Decision(call_id=each.call_id, verdict="answer", output=plain(text)) for each, text in pairs]


class TestACallThatSomebodyOutsideAnswers:
    async def test_waits_and_the_answer_is_its_result(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(QUESTION)
            task = await here.submit("Ask them.")
            (wait,) = await waiting(here, task)
            assert (wait.kind, wait.call) == ("answer", QUESTION)
            await decide(here, task, *answers([wait], "forty-two"))
            outcome = await here.outcome(task.task_id)
        assert (outcome.state, outcome.text) == ("completed", "forty-two")
        assert here.called == []
        assert [result.state for result in results(here, 1)] == ["success"]

    async def test_is_answered_although_no_agent_was_there_when_it_was(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            here.external, here.mind = True, says_then(QUESTION)
            settings = Settings()
            async with app(settings, bus=here.settings):
                task = await here.submit("Ask them.")
                (wait,) = await waiting(here, task)
            await decide(here, task, *answers([wait], "forty-two"))
            async with app(settings, bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.text == "forty-two"
        assert len(here.asked) == 2

    async def test_can_be_looked_at_and_answered_by_a_client_and_once_only(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(QUESTION)
            task = await here.submit("Ask them.")
            await waiting(here, task)
            ticket = Ticket(here.bus, task.task_id)
            (answer,) = answers(await ticket.waiting(), "forty-two")
            with pytest.raises(DecisionStale):
                await ticket.decide(answer.model_copy(update={"call_id": "another"}))
            with pytest.raises(BodyInvalid, match="waits for an answer"):
                await ticket.decide(Decision(call_id=answer.call_id, verdict="approve"))
            await ticket.decide(answer)
            assert (await ticket.result(20)).text == "forty-two"
            with pytest.raises(DecisionStale, match="waits for: nothing"):
                await ticket.decide(answer)

    async def test_may_be_a_question_to_the_user(self, nats_url: str) -> None:
        spec = AgentSpec.model_validate(SPEC.model_dump() | {"tools": ["ask_user"], "permissions": {"mode": "explore"}})
        async with house(nats_url, spec) as here:
            ask = ToolUseBlock(id="c1", name="ask_user", input={"question": "Red or blue?"}, raw_input="{}")
            here.mind = says_then(ask)
            task = await here.submit("Choose.")
            (wait,) = await waiting(here, task)
            await decide(here, task, *answers([wait], "blue"))
            outcome = await here.outcome(task.task_id)
        assert (wait.kind, outcome.text) == ("answer", "blue")
        assert [spec.name for spec in here.asked[0].tools] == ["ask_user"]

    async def test_of_several_may_be_answered_in_parts(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external = True
            here.mind = says_then(QUESTION, QUESTION.model_copy(update={"id": "c2"}))
            task = await here.submit("Ask them.")
            first, second = await waiting(here, task)
            await decide(here, task, *answers([second], "two"))
            await decide(here, task, *answers([first], "one"))
            outcome = await here.outcome(task.task_id)
        assert outcome.text == "one and two"
        assert len(here.asked) == 2

    async def test_may_be_denied_with_a_reason(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(QUESTION)
            task = await here.submit("Ask them.")
            (wait,) = await waiting(here, task)
            await decide(here, task, Decision(call_id=wait.call_id, verdict="deny", reason="not today"))
            outcome = await here.outcome(task.task_id)
        assert outcome.text == "The call was denied: not today"
        assert [result.state for result in results(here, 1)] == ["denied"]

    async def test_takes_the_first_answer_and_none_that_fits_no_waiting_call(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(QUESTION)
            task = await here.submit("Ask them.")
            (wait,) = await waiting(here, task)
            await decide(here, task, Decision(call_id="another", verdict="deny"))
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve"))
            await here.bus.js.publish(DECIDE.at(task.task_id), b"approve it")
            await decide(here, task, *answers([wait], "first"))
            await decide(here, task, *answers([wait], "second"))
            outcome = await here.outcome(task.task_id)
        assert outcome.text == "first"


def asks(**permissions: object) -> AgentSpec:
    """Return an agent that may call its tool only with somebody's leave."""
    rules = [{"tool": "add", "behaviour": "ask"}]
    return AgentSpec.model_validate(SPEC.model_dump() | {"permissions": {"rules": rules} | permissions})


class TestACallThatNeedsLeave:
    async def test_is_carried_out_once_it_is_approved(self, nats_url: str) -> None:
        async with house(nats_url, asks()) as here:
            here.mind = says_then(QUESTION)
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            assert (wait.kind, here.called) == ("approval", [])
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve"))
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, len(here.called)) == ("3", 1)

    async def test_may_be_approved_with_other_arguments(self, nats_url: str) -> None:
        async with house(nats_url, asks()) as here:
            here.mind = says_then(QUESTION)
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            other = Decision(call_id=wait.call_id, verdict="approve", arguments={"a": 5, "b": 5})
            await decide(here, task, other)
            outcome = await here.outcome(task.task_id)
        assert outcome.text == "10"

    async def test_is_not_carried_out_when_it_is_denied(self, nats_url: str) -> None:
        async with house(nats_url, asks()) as here:
            here.mind = says_then(QUESTION)
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            await decide(here, task, Decision(call_id=wait.call_id, verdict="deny", reason="too much"))
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, here.called) == ("The call was denied: too much", [])

    async def test_may_be_decided_on_while_another_of_its_reply_is_carried_out(self, nats_url: str) -> None:
        async with house(nats_url, asks()) as here:
            here.mind, here.tool_delay_s = says_then(QUESTION, QUESTION.model_copy(update={"id": "c2"})), 0.5
            task = await here.submit("Add twice.")
            first, second = await waiting(here, task)
            ticket = Ticket(here.bus, task.task_id)
            await ticket.decide(Decision(call_id=first.call_id, verdict="approve"))
            await here.began.wait()
            assert [each.call_id for each in await ticket.waiting()] == [second.call_id]
            await ticket.decide(Decision(call_id=second.call_id, verdict="deny", reason="once will do"))
            assert await ticket.waiting() == []
            with pytest.raises(DecisionStale):
                await ticket.decide(Decision(call_id=first.call_id, verdict="deny"))
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, len(here.called)) == ("3 and The call was denied: once will do", 1)

    async def test_is_not_decided_on_in_two_ways_at_once(self, nats_url: str) -> None:
        async with house(nats_url, asks()) as here:
            here.mind = says_then(QUESTION)
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            ticket = Ticket(here.bus, task.task_id)
            yes, no = (Decision.model_validate({"call_id": wait.call_id, "verdict": v}) for v in ("approve", "deny"))
            with pytest.raises(BodyInvalid, match="about the same call"):
                await ticket.decide(yes, no)
            assert await ticket.waiting() == [wait]

    async def test_is_not_asked_about_again_under_a_rule_that_was_added(self, nats_url: str) -> None:
        async with house(nats_url, asks(rules=[], mode="default")) as here:
            here.mind = says(call(QUESTION), call(QUESTION.model_copy(update={"id": "c2"})), reply("done"))
            task = await here.submit("Add twice.")
            (wait,) = await waiting(here, task)
            rule = Rule(tool="add", behaviour="allow")
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve", rules=[rule]))
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, len(here.called)) == ("done", 2)

    async def test_runs_unasked_where_the_agent_asks_for_nobody_s_leave(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind = says_then(QUESTION)
            assert (await here.run("Add.")).text == "3"


class TestADecision:
    async def test_about_a_task_that_nobody_knows_is_refused_so(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            with pytest.raises(TaskNotFound, match="'nothing'"):
                await Ticket(here.bus, "nothing").decide(Decision(call_id="nothing-t1-0", verdict="approve"))

    async def test_about_a_task_that_is_over_is_stale(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("Add.")
            with pytest.raises(DecisionStale, match="waits for: nothing"):
                await Ticket(here.bus, outcome.task_id).decide(Decision(call_id="c", verdict="approve"))


class TestAParkedRun:
    async def test_delays_no_other_session_and_keeps_its_own_in_line(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(QUESTION)
            parked = await here.submit("Ask them.", session="s1")
            (wait,) = await waiting(here, parked)
            here.mind = says_only
            behind = await here.submit("And this?", session="s1")
            other = await here.submit("And that?", session="s2")
            assert (await here.outcome(other.task_id)).text == "said"
            asked = len(here.asked)
            await decide(here, parked, *answers([wait], "forty-two"))
            first, second = await asyncio.gather(here.outcome(parked.task_id), here.outcome(behind.task_id))
        assert asked == 2
        assert (first.state, second.text) == ("completed", "said")
        assert first.finished_at < second.finished_at

    async def test_takes_one_of_two_decisions_and_refuses_the_other(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            here.external, here.mind = True, says_then(QUESTION)
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Ask them.")
                (wait,) = await waiting(here, task)
            ticket = Ticket(here.bus, task.task_id)
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve"))
            said = [Decision(call_id=wait.call_id, verdict="answer", output=plain(text)) for text in ("one", "two")]
            outcomes = await asyncio.gather(*(ticket.decide(each) for each in said), return_exceptions=True)
            with pytest.raises(DecisionStale, match="'user' has decided on"):
                await ticket.decide(said[0])
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        refused = [isinstance(each, DecisionStale) for each in outcomes]
        assert sorted(refused) == [False, True]
        assert outcome.text == ("one", "two")[refused.index(False)]

    async def test_can_be_interrupted(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(QUESTION)
            task = await here.submit("Ask them.")
            await waiting(here, task)
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
        assert outcome.state == "interrupted"

    async def test_goes_on_as_declared_when_nobody_decides_in_time(self, nats_url: str) -> None:
        spec = AgentSpec.model_validate(SPEC.model_dump() | {"permissions": {"wait": 0.2}})
        async with house(nats_url, spec) as here:
            here.external, here.mind = True, says_then(QUESTION)
            outcome = await here.run("Ask them.")
        assert outcome.text == "The call was denied: nobody has decided in time"

    async def test_waiting_does_not_count_as_its_time(self, nats_url: str) -> None:
        spec = AgentSpec.model_validate(SPEC.model_dump() | {"limits": {"deadline": 6}})
        async with house(nats_url, spec) as here:
            here.external, here.mind = True, says_then(QUESTION)
            task = await here.submit("Ask them.")
            (wait,) = await waiting(here, task)
            await asyncio.sleep(6.1)
            await decide(here, task, *answers([wait], "late"))
            outcome = await here.outcome(task.task_id)
        assert (outcome.state, outcome.text) == ("completed", "late")


async def says_only(_: model.Chat) -> model.Chatted:
    return reply("said")

"""Functions between hooks and before critics: as with any agent, each decides once, whoever dies in between."""

import asyncio
from typing import Any

import pytest

from natscope.contracts import model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.run import Hooked, Judged
from natscope.contracts.task import Finished
from services.agent.journal import Journal
from tests.integration.agent.house import House, house, reply
from tests.integration.agent.test_critics import is_judgment, judgments, questions, says, verdict
from tests.integration.agent.test_functions import echoes, spec
from tests.integration.agent.test_hooks import agents, asked, warden
from tests.integration.agent.test_waiting import decide, waiting

ONE = AgentSpec(name="one", system_prompt="One.")
EVERYWHERE = (
    *("before_reply", "system_prompt", "before_reasoning", "before_model_call", "after_model_call", "after_reasoning"),
    *("permission", "before_acting", "after_acting", "after_reply"),
)


def hooked(function: str, *hooks: dict[str, Any]) -> AgentSpec:
    return spec(function, hooks=list(hooks), agents=["one"])


def called(name: str, agent: AgentSpec) -> AgentSpec:
    return agent.model_copy(update={"name": name})


async def written(here: House, outcome: Finished) -> list[Hooked]:
    return [entry for entry in await Journal(here.bus, outcome.task_id).read() if isinstance(entry, Hooked)]


class TestAHookAroundAFunction:
    async def test_changes_what_its_ctx_asks_for_and_what_it_answers(self, nats_url: str) -> None:
        async with house(nats_url, hooked("steps", warden("changes", *EVERYWHERE)), agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Add.", session="s")
            points = [each.point for each in asked(outcome.task_id)]
        (chat,) = here.asked
        assert [message.text for message in chat.messages] == ["You help. Politely.", "Add, please.", "Step 1."]
        assert (chat.model, [each.call.input for each in here.called]) == ("other", [{"a": 20, "b": 20}])
        assert outcome.text == "Step 1. So it is. 40! Amen."
        assert here.sessions["s"][-1].text == outcome.text
        step = ["system_prompt", "before_reasoning", "before_model_call", "after_model_call", "after_reasoning"]
        assert points == ["before_reply", *step, "permission", "before_acting", "after_acting", "after_reply"]

    async def test_puts_other_messages_to_each_of_its_questions(self, nats_url: str) -> None:
        around = hooked("at_once", warden("shouts", "before_model_call"))
        async with house(nats_url, around, agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Go.")
        assert outcome.text == "ONE.! TWO.!"

    async def test_refuses_where_it_was_asked_for_and_the_function_may_go_on(self, nats_url: str) -> None:
        around = hooked("tries", warden("forbids", "before_model_call", "permission"))
        withheld = called("withheld", hooked("steps", warden("forbids", "before_acting")))
        fails = called("fails", hooked("steps", warden("forbids", "before_model_call")))
        async with house(nats_url, around, withheld, fails, ONE, agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Go.")
            assert outcome.text == (
                "HookRefused: refused at `before_model_call`: not on a Sunday | "
                "Refused: another agent may not be asked: not on a Sunday"
            )
            assert (outcome.state, here.asked) == ("completed", [])
            outcome = await here.run("Go.", agent="withheld")
            assert (outcome.text, here.called) == ("Go. It was refused, nothing ran: not on a Sunday", [])
            outcome = await here.run("Go.", agent="fails")
            assert (outcome.state, outcome.failure and outcome.failure.code) == ("failed", "hook_refused")

    async def test_answers_in_its_place(self, nats_url: str) -> None:
        around = hooked("steps", warden("answers", "before_reply"))
        tools = called("tools", hooked("steps", warden("answers", "before_model_call", "before_acting")))
        async with house(nats_url, around, tools, agents=0) as here, agents(here):
            assert (await here.run("Add.")).text == "Nobody had to."
            assert (await here.run("Add.", agent="tools")).text == "Nobody had to. Nobody had to."
        assert (here.asked, here.called) == ([], [])

    @pytest.mark.parametrize(("verdict", "text"), [("approve", "Well? | Go."), ("deny", "Well? | Refused: another")])
    async def test_has_a_person_asked_before_another_agent_is(self, nats_url: str, verdict: str, text: str) -> None:
        around = hooked("tries", warden("asks", "permission"))
        async with house(nats_url, around, ONE, agents=0) as here, agents(here):
            here.mind = echoes
            task = await here.submit("Go.")
            (wait,) = await waiting(here, task)
            assert (wait.kind, wait.reason, wait.call.input["agent"]) == ("approval", "somebody should look", "one")
            await decide(here, task, Decision.model_validate({"call_id": wait.call_id, "verdict": verdict}))
            outcome = await here.outcome(task.task_id)
        assert outcome.text.startswith(text)
        assert len(asked(task.task_id)) == 1

    async def test_objects_and_the_outcome_says_so(self, nats_url: str) -> None:
        async with house(nats_url, hooked("steps", warden("objects", "after_reply")), agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("1")
            assert (outcome.state, outcome.limit, outcome.text) == ("limited", "objection", "1 4")
            assert (await here.run("A long one.")).state == "completed"


class TestAFunctionThatIsTakenOver:
    @pytest.mark.parametrize("name", ["wavers", "regrets"])
    @pytest.mark.parametrize("point", ["before_reasoning", "before_acting"])
    async def test_asks_no_hook_twice_about_what_had_begun(self, nats_url: str, name: str, point: str) -> None:
        async with house(nats_url, hooked("steps", warden(name, point)), agents=0) as here:
            began, gate = here.began, asyncio.Event()
            here.tool_delay_s = 0.5

            async def mind(chat: model.Chat) -> model.Chatted:
                if point == "before_reasoning":
                    began.set()
                    await gate.wait()
                return reply("Said.")

            here.mind = mind
            async with agents(here):
                task = await here.submit("Go.")
                async with asyncio.timeout(30):
                    await began.wait()
            gate.set()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
            decided = await written(here, outcome)
        assert (len(here.asked), len(here.called), len(asked(task.task_id))) == (1, 1, 1)
        assert outcome.text == ("Said. 2" if (name, point) == ("wavers", "before_acting") else "Said. 4")
        assert len(decided) == (name == "wavers")

    async def test_holds_to_the_task_that_hooks_had_nothing_to_say_of(self, nats_url: str) -> None:
        async with house(nats_url, hooked("steps", warden("regrets", "before_reply")), agents=0) as here:
            here.tool_delay_s = 0.5
            here.mind = echoes
            async with agents(here):
                task = await here.submit("Go.")
                async with asyncio.timeout(30):
                    await here.began.wait()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
        assert (outcome.state, outcome.text, len(asked(task.task_id))) == ("completed", "Go. 4", 1)


class TestACriticOfAFunction:
    async def test_reads_what_it_did_and_lets_the_answer_be(self, nats_url: str) -> None:
        async with (
            house(nats_url, spec("steps", critics=[{"criteria": "It is a sum."}]), agents=0) as here,
            agents(here),
        ):
            here.mind = says(reply("I add."), judged=(verdict(),))
            outcome = await here.run("Add.")
        assert (outcome.state, outcome.text, outcome.usage.input_tokens) == ("completed", "I add. 4", 20)
        text = judgments(here)[0].messages[-1].text
        assert "I add.\n\n[tool add]\n(add returns, success: 4)\n</conversation>" in text
        assert "<answer>\nI add. 4\n</answer>" in text

    async def test_objects_and_nothing_is_done_again(self, nats_url: str) -> None:
        pair = [{}, {"agent": "one"}]
        async with house(nats_url, spec("steps", critics=pair), ONE, agents=0) as here, agents(here):
            here.mind = says(reply("I add."), judged=(verdict(), verdict("odd")))
            outcome = await here.run("Add.")
            entries = await Journal(here.bus, outcome.task_id).read()
        assert (outcome.state, outcome.limit, outcome.text) == ("limited", "objection", "I add. 4")
        assert (len(questions(here)), len(judgments(here)), len(here.called)) == (1, 2, 1)
        found = [(each.by, each.objections) for each in entries if isinstance(each, Judged)]
        assert found == [("assistant", []), ("one", ["odd"])]

    async def test_that_was_asked_when_the_process_died_is_paid_once(self, nats_url: str) -> None:
        async with house(nats_url, spec("steps", critics=[{}]), agents=0) as here:
            began, gate = asyncio.Event(), asyncio.Event()

            async def mind(chat: model.Chat) -> model.Chatted:
                if not is_judgment(chat):
                    return reply("I add.")
                began.set()
                await gate.wait()
                return verdict()

            here.mind = mind
            async with agents(here):
                task = await here.submit("Add.")
                async with asyncio.timeout(30):
                    await began.wait()
            gate.set()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
        assert (outcome.state, len(here.asked), len(here.called)) == ("completed", 2, 1)

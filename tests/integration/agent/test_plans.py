"""Agents that plan: each step a task of its own, independent steps at the same time, replanned when one fails."""

import asyncio
from datetime import timedelta
from typing import ClassVar

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.blocks import ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.task import INTERRUPT, STEER, Interrupt, Steer
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import House, Model, call, house, reply
from tests.integration.agent.test_asking_agents import other, results
from tests.integration.agent.test_waiting import decide, waiting

Steps = dict[str, list[str]]
"""Of each step, on which others it depends."""
DIAMOND: Steps = {"a": [], "b": [], "c": ["a", "b"]}


def planner(**more: object) -> AgentSpec:
    told = {"name": "assistant", "system_prompt": "You help.", "tools": ["add"], "strategy": "plan_execute"}
    return AgentSpec.model_validate(told | more)


def plan(steps: Steps, **who: str) -> model.Chatted:
    made = [{"id": id, "do": f"Do {id}.", "depends_on": others} for id, others in steps.items()]
    made = [step | ({"agent": who[str(step["id"])]} if step["id"] in who else {}) for step in made]
    return call(ToolUseBlock.model_validate({"id": f"p-{new_id()}", "name": "plan", "input": {"steps": made}}))


def is_planner(asked: model.Chat) -> bool:
    return any(spec.name == "plan" for spec in asked.tools)


def step_of(asked: model.Chat) -> str:
    """Return which step a question is about."""
    return text_of(asked.messages[1].content).removeprefix("Do this: Do ")[0]


def plays(here: House, *plans: model.Chatted, step: Model | None = None) -> None:
    """Have the planner make these plans and then say what it was told; steps say their names."""
    left = list(plans)

    async def mind(asked: model.Chat) -> model.Chatted:
        if not is_planner(asked):
            return await step(asked) if step is not None else reply(f"{step_of(asked)} is done")
        return left.pop(0) if left else reply(text_of(results(asked)[-1].output))

    here.mind = mind


def done_by(here: House) -> list[str]:
    """Return the steps whose models were asked, in order."""
    return [step_of(asked) for asked in here.asked if not is_planner(asked)]


async def told(here: House, task_id: str) -> list[event.TaskEvent]:
    return [item.event async for item in Ticket(here.bus, task_id).events()]


class TestAPlan:
    async def test_is_made_carried_out_and_answered_with_what_came_of_it(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:
            plays(here, plan(DIAMOND))
            outcome = await here.run("Go.")
            heard = await told(here, outcome.task_id)
        assert (outcome.state, outcome.model_calls) == ("completed", 2)
        assert outcome.text == (
            "Every step is done.\n[a: success]\na is done\n[b: success]\nb is done\n[c: success]\nc is done"
        )
        assert [asked.tool_choice for asked in here.asked if is_planner(asked)] == ["plan", "none"]
        assert outcome.usage.input_tokens == 50
        kinds = [each.type for each in heard]
        assert [kinds.count(kind) for kind in ("plan_made", "step_begun", "step_ended", "replanned")] == [1, 3, 3, 0]
        assert kinds.count("tool_result") == 1
        assert kinds.index("plan_made") < kinds.index("step_begun") < kinds.index("step_ended")

    async def test_has_independent_steps_done_at_the_same_time(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:
            both = asyncio.Barrier(2)

            async def step(asked: model.Chat) -> model.Chatted:
                if step_of(asked) in "ab":
                    await both.wait()
                return reply(step_of(asked))

            plays(here, plan(DIAMOND), step=step)
            outcome = await here.run("Go.")
        assert (outcome.state, done_by(here)[-1]) == ("completed", "c")

    async def test_tells_a_step_the_task_and_what_the_steps_before_it_gave(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:
            plays(here, plan({"a": [], "b": [], "c": ["a"]}))
            await here.run("Go there.", tenant="shop")
        first, last = ([asked for asked in here.asked if not is_planner(asked) and step_of(asked) == id] for id in "ac")
        assert "The step 'a' gave:\na is done" in last[0].messages[1].text
        assert "b is done" not in last[0].messages[1].text
        assert "Go there." in last[0].messages[1].text
        assert ([spec.name for spec in last[0].tools], last[0].tenant) == (["add"], "shop")
        assert "gave" not in first[0].messages[1].text

    async def test_may_give_a_step_to_another_agent(self, nats_url: str) -> None:
        async with house(nats_url, planner(agents=["botany"]), other("botany")) as here:
            plays(here, plan({"a": [], "b": []}, a="botany"))
            outcome = await here.run("Go.")
        assert {step_of(asked): asked.agent for asked in here.asked[1:-1]} == {"a": "botany", "b": "assistant"}
        assert outcome.state == "completed"

    async def test_is_gone_on_with_by_another_process_and_no_step_is_repeated(self, nats_url: str) -> None:
        async with house(nats_url, planner(), agents=0) as here:
            gate, began = asyncio.Event(), asyncio.Event()

            async def step(asked: model.Chat) -> model.Chatted:
                if step_of(asked) == "b":
                    began.set()
                    await gate.wait()
                return reply(f"{step_of(asked)} is done")

            plays(here, plan({"a": [], "b": ["a"], "c": ["b"]}), step=step)
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                task = await here.submit("Go.")
                await began.wait()
            gate.set()
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.state == "completed"
        assert done_by(here) == ["a", "b", "c"]
        assert sum(map(is_planner, here.asked)) == 2

    async def test_is_stopped_with_its_steps_when_the_task_is_interrupted(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:
            began, over = asyncio.Event(), asyncio.Event()

            async def step(asked: model.Chat) -> model.Chatted:
                began.set()
                await over.wait()
                return reply("late")

            plays(here, plan({"a": []}), step=step)
            task = await here.submit("Go.")
            await began.wait()
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
            child = await here.outcome(f"{task.task_id}-t1-0-0")
            over.set()
        assert (outcome.state, child.state) == ("interrupted", "interrupted")

    async def test_is_dropped_for_another_when_the_task_is_redirected(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:
            began, over = asyncio.Event(), asyncio.Event()

            async def step(asked: model.Chat) -> model.Chatted:
                if step_of(asked) == "b":
                    began.set()
                    await over.wait()
                return reply(f"{step_of(asked)} is done")

            plays(here, plan({"a": [], "b": ["a"]}), plan({"c": ["a"]}), step=step)
            task = await here.submit("Go.")
            await began.wait()
            said = Steer.model_validate({"content": "Do c instead.", "redirect": True})
            await here.bus.submit(STEER, said, task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
            over.set()
        dropped = results([asked for asked in here.asked if is_planner(asked)][1])[-1]
        assert (dropped.state, "a is done" in text_of(dropped.output)) == ("interrupted", True)
        assert (outcome.state, done_by(here)) == ("completed", ["a", "b", "c"])

    async def test_waits_for_leave_where_rules_say_so_and_may_be_changed_then(self, nats_url: str) -> None:
        rules = {"rules": [{"tool": "plan", "behaviour": "ask"}]}
        async with house(nats_url, planner(permissions=rules)) as here:
            plays(here, plan(DIAMOND))
            task = await here.submit("Go.")
            (wait,) = await waiting(here, task)
            assert (wait.kind, done_by(here)) == ("approval", [])
            arguments = {"steps": [{"id": "z", "do": "Do z."}]}
            changed = Decision.model_validate({"call_id": wait.call_id, "verdict": "approve", "arguments": arguments})
            await decide(here, task, changed)
            outcome = await here.outcome(task.task_id)
        assert (outcome.text, done_by(here)) == ("Every step is done.\n[z: success]\nz is done", ["z"])

    async def test_gives_the_agents_answer_as_the_value_it_declares(self, nats_url: str) -> None:
        output = {"json_schema": {"type": "object", "properties": {"sum": {"type": "number"}}}}
        async with house(nats_url, planner(output=output)) as here:
            finish = call(ToolUseBlock(id="f", name="finish", input={"sum": 4}))
            plays(here, plan({"a": []}), finish)
            outcome = await here.run("Go.")
        assert (outcome.output, outcome.state) == ({"sum": 4}, "completed")
        assert [asked.tool_choice for asked in here.asked if is_planner(asked)] == ["plan", "finish"]
        assert [spec.name for spec in here.asked[1].tools] == ["add"]


class TestAStepThatFails:
    FAILS: ClassVar = reply("").model_copy(update={"finish_reason": "content_filter"})

    async def test_leads_to_another_plan_and_what_is_done_stays(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:

            async def step(asked: model.Chat) -> model.Chatted:
                return self.FAILS if step_of(asked) == "b" else reply(f"{step_of(asked)} is done")

            plays(here, plan({"a": [], "b": ["a"], "c": ["b"]}), plan({"a": [], "d": ["a"]}), step=step)
            outcome = await here.run("Go.")
            heard = await told(here, outcome.task_id)
        assert done_by(here) == ["a", "b", "d"]
        assert outcome.text == "Every step is done.\n[a: success]\na is done\n[d: success]\nd is done"
        failed = text_of(results([asked for asked in here.asked if is_planner(asked)][1])[0].output)
        assert failed.startswith("Not done: b. Not begun or not over: c.\n[a: success]")
        (again,) = [each for each in heard if isinstance(each, event.Replanned)]
        assert (again.plan, again.failed, [step.id for step in again.steps]) == (2, ["b"], ["a", "d"])
        assert [each.type for each in heard].count("plan_made") == 1

    async def test_leads_to_so_many_plans_as_the_agent_may_make_and_then_to_an_answer(self, nats_url: str) -> None:
        async with house(nats_url, planner(plan={"replans": 1})) as here:

            async def step(_: model.Chat) -> model.Chatted:
                return self.FAILS

            plays(here, plan({"a": []}), plan({"b": []}), reply("I could not."), step=step)
            outcome = await here.run("Go.")
        assert (outcome.state, outcome.limit, outcome.text) == ("limited", "replans", "I could not.")
        assert [asked.tool_choice for asked in here.asked if is_planner(asked)] == ["plan", "auto", "none"]


class TestAPlanThatCannotBeCarriedOut:
    async def test_is_told_to_the_model_once_and_made_anew(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:
            plays(here, plan({"a": ["b"], "b": ["a"]}), plan({"a": []}))
            outcome = await here.run("Go.")
        why = text_of(results([asked for asked in here.asked if is_planner(asked)][1])[0].output)
        assert why == "Steps wait for each other, none could begin: a → b → a."
        assert (outcome.state, done_by(here)) == ("completed", ["a"])

    async def test_fails_the_run_the_second_time_and_nothing_was_begun(self, nats_url: str) -> None:
        async with house(nats_url, planner()) as here:
            plays(here, plan({"a": ["a"]}), plan({"a": ["z"]}))
            outcome = await here.run("Go.")
        assert outcome.state == "failed"
        assert outcome.failure is not None
        assert outcome.failure.code == "plan_invalid"
        assert "Step 'a' depends on 'z', and there is no such step." in outcome.failure.message
        assert done_by(here) == []


class TestDialog:
    async def test_is_one_model_call_without_tools_in_a_session_that_is_kept(self, nats_url: str) -> None:
        async with house(nats_url, planner(strategy="dialog")) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                return reply(f"I have heard {len(asked.messages) - 1}.")

            here.mind = mind
            first = await here.run("Hello.", session="s")
            second = await here.run("And again.", session="s")
        assert (first.text, second.text) == ("I have heard 1.", "I have heard 3.")
        assert ([asked.tools for asked in here.asked], first.model_calls) == ([[], []], 1)

    async def test_gives_a_declared_answer_in_one_forced_call_and_asks_again_unforced(self, nats_url: str) -> None:
        output = {"json_schema": {"type": "object", "properties": {"sum": {"type": "number"}}}}
        async with house(nats_url, planner(strategy="dialog", output=output)) as here:
            answers = [call(ToolUseBlock(id="f", name="finish", input={"sum": 4})), reply("5")]
            answers.append(call(ToolUseBlock(id="f", name="finish", input={"sum": 5})))

            async def mind(_: model.Chat) -> model.Chatted:
                return answers.pop(0)

            here.mind = mind
            first, second = await here.run("Four."), await here.run("Five.")
        assert (first.output, first.model_calls, second.output) == ({"sum": 4}, 1, {"sum": 5})
        assert [asked.tool_choice for asked in here.asked] == ["finish", "finish", "auto"]
        assert "calling finish" in here.asked[2].messages[-1].text

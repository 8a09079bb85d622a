"""Agents that ask agents: each time a task of its own, waited for without a slot."""

import asyncio
from datetime import timedelta

import pytest

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.task import INTERRUPT, Interrupt, Submit
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import House, call, house, reply
from tests.integration.agent.test_waiting import decide, waiting


def lead(*others: str, **more: object) -> AgentSpec:
    return AgentSpec.model_validate(
        {"name": "assistant", "description": "Leads.", "system_prompt": "You lead.", "agents": others} | more
    )


def other(name: str, **more: object) -> AgentSpec:
    return AgentSpec.model_validate({"name": name, "description": f"Knows {name}.", "system_prompt": name} | more)


def asks(agent: str, message: str, id: str = "c1") -> ToolUseBlock:
    return ToolUseBlock.model_validate({"id": id, "name": "ask_agent", "input": {"agent": agent, "message": message}})


def results(asked: model.Chat) -> list[ToolResultBlock]:
    return [block for each in asked.messages for block in each.content if isinstance(block, ToolResultBlock)]


def plays(here: House, *calls: ToolUseBlock) -> None:
    """Have the lead call these, and say what came of it; the others say who they are and what they were asked."""

    async def mind(asked: model.Chat) -> model.Chatted:
        if asked.agent != "assistant":
            return reply(f"{asked.agent} on {text_of(asked.messages[-1].content)!r}")
        if not results(asked):
            return call(*calls)
        return reply(" | ".join(f"{result.state}: {text_of(result.output)}" for result in results(asked)))

    here.mind = mind


class TestAnAgentThatAsksAnother:
    async def test_gets_its_answer_as_the_calls_result(self, nats_url: str) -> None:
        async with house(nats_url, lead("botany"), other("botany")) as here:
            plays(here, asks("botany", "Which is it?"))
            outcome = await here.run("Find out.", session="s", tenant="shop")
        (tool,) = here.asked[0].tools
        assert (tool.name, "- botany: Knows botany." in tool.description) == ("ask_agent", True)
        assert outcome.text == "success: botany on 'Which is it?'"
        assert [asked.agent for asked in here.asked] == ["assistant", "botany", "assistant"]
        assert (here.asked[1].tenant, here.asked[1].session) == ("shop", f"{outcome.task_id}-t1-0")
        assert [text_of(message.content) for message in here.asked[1].messages] == ["botany", "Which is it?"]

    async def test_is_told_what_both_have_spent(self, nats_url: str) -> None:
        async with house(nats_url, lead("botany"), other("botany")) as here:
            plays(here, asks("botany", "Which is it?"))
            outcome = await here.run("Find out.")
        assert (outcome.usage.input_tokens, outcome.model_calls, outcome.tool_calls) == (30, 2, 1)

    async def test_asks_several_at_the_same_time(self, nats_url: str) -> None:
        async with house(nats_url, lead("one", "two"), other("one"), other("two")) as here:
            both = asyncio.Barrier(2)
            plays(here, asks("one", "Go.", "a"), asks("two", "Go.", "b"), asks("one", "Again.", "c"))
            said = here.mind

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent != "assistant" and text_of(asked.messages[-1].content) == "Go.":
                    await both.wait()
                return await said(asked)

            here.mind = mind
            outcome = await here.run("Find out.")
        assert outcome.text == "success: one on 'Go.' | success: two on 'Go.' | success: one on 'Again.'"

    async def test_uses_its_tools_meanwhile(self, nats_url: str) -> None:
        async with house(nats_url, lead("one", tools=["add"]), other("one")) as here:
            add = ToolUseBlock(id="t", name="add", input={"a": 2, "b": 2})
            plays(here, asks("one", "Go."), add)
            outcome = await here.run("Find out.")
        assert outcome.text == "success: one on 'Go.' | success: 4"

    async def test_is_told_of_it_in_an_event_and_waits_for_nobody(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), other("one")) as here:
            plays(here, asks("one", "Go."))
            outcome = await here.run("Find out.")
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
        (delegated,) = [each for each in told if isinstance(each, event.Delegated)]
        assert (delegated.agent, delegated.child) == ("one", f"{outcome.task_id}-t1-0")
        kinds = [each.type for each in told]
        assert "approval_needed" not in kinds
        assert kinds.count("tool_result") == 1
        assert not any(each.resumed for each in told if isinstance(each, event.ReplyStart))

    async def test_holds_no_slot_while_it_waits(self, nats_url: str) -> None:
        async with house(nats_url, lead("assistant"), agents=0) as here:
            here.mind = _asks_itself_down
            async with app(Settings(slots=1), bus=here.settings):
                outcome = await here.run("Count down.")
        assert outcome.text == "level 1 over level 2 over level 3 over level 4 over level 5 refused"

    async def test_goes_on_in_another_process_and_nobody_is_asked_twice(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), other("one"), agents=0) as here:
            plays(here, asks("one", "Go."))
            said, gate, began = here.mind, asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "one":
                    began.set()
                    await gate.wait()
                return await said(asked)

            here.mind = mind
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                task = await here.submit("Find out.")
                await began.wait()
            gate.set()
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.text == "success: one on 'Go.'"
        assert [asked.agent for asked in here.asked] == ["assistant", "one", "assistant"]

    async def test_takes_what_it_asked_with_it_when_it_is_interrupted(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), other("one")) as here:
            plays(here, asks("one", "Go."))
            said, began = here.mind, asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "one":
                    began.set()
                    await here.work(30)
                return await said(asked)

            here.mind = mind
            task = await here.submit("Find out.")
            await began.wait()
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
            child = await here.outcome(f"{task.task_id}-t1-0")
        assert (outcome.state, child.state) == ("interrupted", "interrupted")

    async def test_gives_it_no_more_to_spend_than_it_has_left(self, nats_url: str) -> None:
        specs = lead("one", limits={"tokens": 30}), other("one", tools=["add"], limits={"tokens": 1000})
        async with house(nats_url, *specs) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "assistant":
                    return reply(text_of(results(asked)[0].output)) if results(asked) else call(asks("one", "Go."))
                if asked.tool_choice == "none":
                    return reply("All I could afford.")
                return call(ToolUseBlock(id="t", name="add", input={"a": 1, "b": 1}))

            here.mind = mind
            outcome = await here.run("Find out.")
        assert [asked.agent for asked in here.asked] == ["assistant", "one", "one", "assistant"]
        assert (outcome.limit, outcome.text) == ("tokens", "All I could afford.")


class TestWhatIsAsked:
    @pytest.mark.parametrize(
        ("wrong", "why"),
        [
            (asks("nobody", "Go."), "There is no agent 'nobody' to ask. There are: one."),
            (asks("one", "  "), "`message` must say what the agent is asked to do."),
            (ToolUseBlock(id="c1", name="ask_agent", input={"agent": "one"}), "`message` must say"),
        ],
    )
    async def test_must_be_an_agent_and_a_message(self, nats_url: str, wrong: ToolUseBlock, why: str) -> None:
        async with house(nats_url, lead("one"), other("one")) as here:
            plays(here, wrong)
            outcome = await here.run("Find out.")
        assert outcome.text.startswith(f"error: {why}")
        assert len(here.asked) == 2

    async def test_may_fail_and_that_is_told(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), other("one")) as here:
            plays(here, asks("one", "Go."))
            said = here.mind

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "one":
                    return reply("").model_copy(update={"finish_reason": "content_filter"})
                return await said(asked)

            here.mind = mind
            outcome = await here.run("Find out.")
        assert outcome.state == "completed"
        assert outcome.text.startswith("error: The agent 'one' failed: ")

    async def test_that_is_not_applied_is_not_offered(self, nats_url: str) -> None:
        async with house(nats_url, lead("gone")) as here:
            here.mind = lambda _: _say("Alone.")
            outcome = await here.run("Find out.")
        assert (outcome.text, here.asked[0].tools) == ("Alone.", [])

    async def test_waits_for_leave_where_rules_say_so(self, nats_url: str) -> None:
        rules = {"rules": [{"tool": "ask_agent", "behaviour": "ask"}]}
        async with house(nats_url, lead("one", permissions=rules), other("one")) as here:
            plays(here, asks("one", "Go."))
            task: Submit = await here.submit("Find out.")
            (wait,) = await waiting(here, task)
            assert [asked.agent for asked in here.asked] == ["assistant"]
            arguments = {"agent": "one", "message": "Go, but gently."}
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve", arguments=dict(arguments)))
            outcome = await here.outcome(task.task_id)
        assert (wait.kind, outcome.text) == ("approval", "success: one on 'Go, but gently.'")


async def _asks_itself_down(asked: model.Chat) -> model.Chatted:
    told = next(text_of(message.content) for message in asked.messages if message.role == "user")
    level = 1 if told == "Count down." else int(told)
    if not results(asked):
        return call(asks("assistant", str(level + 1)))
    (result,) = results(asked)
    below = "refused" if result.state == "error" else f"over {text_of(result.output)}"
    return reply(f"level {level} {below}")


async def _say(text: str) -> model.Chatted:
    return reply(text)

"""Agents that hand the conversation over: another one goes on with the run, and its answer is the task's."""

import asyncio
from datetime import timedelta

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import House, call, house, reply
from tests.integration.agent.test_waiting import decide, waiting


def desk(*heirs: str, **more: object) -> AgentSpec:
    spec = {"name": "assistant", "description": "The desk.", "system_prompt": "You are the desk."}
    return AgentSpec.model_validate({**spec, "hands_over_to": heirs} | more)


def heir(name: str, **more: object) -> AgentSpec:
    spec = {
        "name": name,
        "description": f"Knows {name}.",
        "system_prompt": f"You are {name}.",
        "model": f"{name}-model",
    }
    return AgentSpec.model_validate(spec | more)


def over(agent: str, note: str = "", id: str = "h1") -> ToolUseBlock:
    return ToolUseBlock.model_validate({"id": id, "name": "hand_over", "input": {"agent": agent, "note": note}})


def results(asked: model.Chat) -> list[ToolResultBlock]:
    return [block for each in asked.messages for block in each.content if isinstance(block, ToolResultBlock)]


def plays(here: House, *calls: ToolUseBlock, again: bool = False) -> None:
    """Have the desk call these once, or `again` and again; whoever is asked then says who it is."""

    async def mind(asked: model.Chat) -> model.Chatted:
        if asked.agent == "assistant" and (again or not results(asked)):
            return call(*calls)
        return reply(f"{asked.agent}: {text_of(results(asked)[-1].output)}")

    here.mind = mind


class TestAnAgentThatHandsOver:
    async def test_has_another_answer_in_its_place_who_knows_what_was_said(self, nats_url: str) -> None:
        async with house(nats_url, desk("sales"), heir("sales", tools=["add"])) as here:
            plays(here, over("sales", "It is urgent."))
            outcome = await here.run("How much is it?", session="s", tenant="shop")
        first, second = here.asked
        assert outcome.text.startswith("sales: From here on 'sales' has the conversation")
        assert outcome.text.endswith("It is urgent.")
        assert (outcome.agent, outcome.session, outcome.state) == ("assistant", "s", "completed")
        assert outcome.message is not None
        assert outcome.message.name == "sales"
        assert [tool.name for tool in first.tools] == ["hand_over"]
        assert "- sales: Knows sales." in first.tools[0].description
        assert ([tool.name for tool in second.tools], second.model) == (["add"], "sales-model")
        assert (second.session, second.tenant) == ("s", "shop")
        assert [message.text for message in second.messages[:2]] == ["You are sales.", "How much is it?"]
        assert [message.name for message in here.sessions["s"]] == ["user", "assistant", "hand_over", "sales"]

    async def test_is_told_of_in_an_event_and_counts_in_one_outcome(self, nats_url: str) -> None:
        async with house(nats_url, desk("sales"), heir("sales")) as here:
            plays(here, over("sales"))
            outcome = await here.run("How much is it?")
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
        assert [each.agent for each in told if isinstance(each, event.HandedOver)] == ["sales"]
        assert (outcome.model_calls, outcome.tool_calls, outcome.usage.input_tokens) == (2, 1, 20)

    async def test_does_first_what_it_called_besides(self, nats_url: str) -> None:
        async with house(nats_url, desk("sales", tools=["add"]), heir("sales")) as here:
            plays(here, over("sales"), ToolUseBlock(id="a", name="add", input={"a": 2, "b": 2}))
            await here.run("How much is it?")
        assert [text_of(result.output)[:4] for result in results(here.asked[1])] == ["From", "4"]
        assert [each.agent for each in here.called] == ["assistant"]

    async def test_hands_on_what_is_left_of_its_limits(self, nats_url: str) -> None:
        async with house(nats_url, desk("sales", limits={"tokens": 15}), heir("sales")) as here:
            plays(here, over("sales"))
            outcome = await here.run("How much is it?")
        assert (outcome.state, outcome.limit) == ("limited", "tokens")
        assert here.asked[1].agent == "sales"

    async def test_hands_over_in_circles_only_so_often(self, nats_url: str) -> None:
        async def mind(asked: model.Chat) -> model.Chatted:
            if results(asked) and results(asked)[-1].state == "error":
                return reply(f"{asked.agent} answers")
            return call(over("sales" if asked.agent == "assistant" else "assistant", id=f"h{len(here.asked)}"))

        async with house(nats_url, desk("sales"), heir("sales", hands_over_to=["assistant"])) as here:
            here.mind = mind
            outcome = await here.run("How much is it?")
        assert outcome.text == "sales answers"
        assert [asked.agent for asked in here.asked] == ["assistant", "sales"] * 3 + ["sales"]
        assert "handed over 5 times already" in text_of(results(here.asked[-1])[-1].output)

    async def test_is_told_why_it_cannot(self, nats_url: str) -> None:
        async with house(nats_url, desk("sales", "planner"), heir("planner", strategy="plan_execute")) as here:
            calls = [over("sales", id="a"), over("planner", id="b"), over("nobody", id="c")]

            async def mind(asked: model.Chat) -> model.Chatted:
                if len(here.asked) <= len(calls):
                    return call(calls[len(here.asked) - 1])
                return reply(" | ".join(text_of(result.output) for result in results(asked)))

            here.mind = mind
            outcome = await here.run("How much is it?")
        assert {asked.agent for asked in here.asked} == {"assistant"}
        gone, planner, nobody = outcome.text.split(" | ")
        assert "there is no agent 'sales'" in gone
        assert "'planner' cannot take a conversation over" in planner
        assert "There is no agent 'nobody' to hand over to" in nobody

    async def test_twice_in_one_reply_hands_over_to_the_first(self, nats_url: str) -> None:
        async with house(nats_url, desk("one", "two"), heir("one"), heir("two")) as here:
            plays(here, over("one", id="a"), over("two", id="b"))
            await here.run("Who is it?")
        assert [asked.agent for asked in here.asked] == ["assistant", "one"]
        assert [result.state for result in results(here.asked[1])] == ["success", "error"]

    async def test_hands_over_with_somebodys_leave_only_if_its_rules_say_so(self, nats_url: str) -> None:
        rules = {"rules": [{"tool": "hand_over", "behaviour": "ask"}]}
        async with house(nats_url, desk("sales", permissions=rules), heir("sales")) as here:
            plays(here, over("sales"))
            task = await here.submit("How much is it?")
            (asked,) = await waiting(here, task)
            await decide(here, task, Decision(call_id=asked.call_id, verdict="approve"))
            outcome = await here.outcome(task.task_id)
        assert outcome.text.startswith("sales:")

    async def test_is_not_asked_again_when_who_goes_on_has_lost_its_process(self, nats_url: str) -> None:
        async with house(nats_url, desk("sales"), heir("sales", tools=["add"]), agents=0) as here:
            plays(here, over("sales"))
            said, gate, began = here.mind, asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "sales":
                    began.set()
                    await gate.wait()
                return await said(asked)

            here.mind = mind
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                task = await here.submit("How much is it?", session="s")
                await began.wait()
            gate.set()
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.text.startswith("sales:")
        assert [asked.agent for asked in here.asked] == ["assistant", "sales"]

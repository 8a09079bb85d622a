"""What a run may spend is shared by the agents that work for it at the same time."""

import asyncio

from natscope.client import Ticket
from natscope.contracts import model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolUseBlock, text_of
from natscope.contracts.event import Delegated
from natscope.contracts.task import Finished
from tests.integration.agent.house import House, call, house, reply
from tests.integration.agent.test_functions import agents, spec
from tests.integration.agent.test_teams import results

COST = 15
"""Tokens of one model call."""
LIMIT = 20 * COST
WORKER = AgentSpec(name="one", description="Works.", system_prompt="w", tools=["add"])
BOSS = AgentSpec.model_validate(
    {"name": "assistant", "system_prompt": "b", "agents": ["one"], "limits": {"tokens": LIMIT, "max_steps": 100}}
)

FUNCTION = spec("crowds", agents=["one"], limits={"tokens": LIMIT, "max_steps": 100})


def ask(place: int, message: str = "Go.") -> ToolUseBlock:
    body = {"agent": "one", "message": message}
    return ToolUseBlock.model_validate({"id": f"c{place}", "name": "ask_agent", "input": body})


def spends(here: House, workers: int, *, together: bool) -> None:
    """Have so many workers go on until they may spend no more; at the same time, or each when one has ended."""

    all_work = asyncio.Barrier(workers if together else 1)

    async def mind(asked: model.Chat) -> model.Chatted:
        if asked.tool_choice == "none":
            return reply("No more.")
        done = len(results(asked))
        if asked.agent == "assistant":
            return reply("Over.") if done else call(*map(ask, range(workers)))
        if not done:
            await all_work.wait()
        return call(ToolUseBlock(id=f"t{done}", name="add", input={"a": done, "b": 1}))

    here.mind = mind


async def children(here: House, outcome: Finished, many: int) -> list[Finished]:
    return [await here.outcome(f"{outcome.task_id}-t1-{place}") for place in range(many)]


def spent_by(outcome: Finished) -> int:
    return outcome.usage.input_tokens + outcome.usage.output_tokens


class TestAgentsThatWorkAtTheSameTime:
    async def test_spend_together_no_more_than_is_left_and_say_which_limit_it_was(self, nats_url: str) -> None:
        async with house(nats_url, BOSS, WORKER) as here:
            spends(here, 3, together=True)
            outcome = await here.run("Go.")
            found = await children(here, outcome, 3)
        last_answers = 3 * COST
        begun_below = 3 * COST
        assert {each.limit for each in found} == {"tokens"}
        assert sum(map(spent_by, found)) <= LIMIT - COST + begun_below + last_answers
        assert min(map(spent_by, found)) >= (LIMIT - COST) // 3

    async def test_as_do_those_that_a_function_gathers(self, nats_url: str) -> None:
        async with house(nats_url, FUNCTION, WORKER, agents=0) as here, agents(here):
            spends(here, 3, together=True)
            outcome = await here.run("Go.")
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
            found = [await here.outcome(each.child) for each in told if isinstance(each, Delegated)]
        assert len(found) == 3
        assert {each.limit for each in found} == {"tokens"}
        assert sum(map(spent_by, found)) <= LIMIT + 3 * COST + 3 * COST
        assert min(map(spent_by, found)) >= LIMIT // 3

    async def test_leave_what_they_have_not_spent_to_those_that_are_asked_next(self, nats_url: str) -> None:
        async with house(nats_url, BOSS, WORKER) as here:
            spends(here, 1, together=False)
            works, asked_before = here.mind, 2

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent != "assistant":
                    return reply("Done.") if "Be brief." in text_of(asked.messages[-1].content) else await works(asked)
                done = len(results(asked))
                if done > asked_before:
                    return reply("Over.")
                told = ["Be brief."] * asked_before if not done else ["Go on."]
                return call(*(ask(place, text) for place, text in enumerate(told)))

            here.mind = mind
            outcome = await here.run("Go.")
            brief = await children(here, outcome, asked_before)
            last = await here.outcome(f"{outcome.task_id}-t2-0")
        before = sum(map(spent_by, brief)) + 2 * COST
        assert (before, last.limit) == (4 * COST, "tokens")
        assert LIMIT - before <= spent_by(last) <= LIMIT - before + 2 * COST

    async def test_and_one_alone_has_all_that_is_left(self, nats_url: str) -> None:
        async with house(nats_url, BOSS, WORKER) as here:
            spends(here, 1, together=False)
            outcome = await here.run("Go.")
            (found,) = await children(here, outcome, 1)
        assert (found.limit, outcome.limit) == ("tokens", "tokens")
        assert LIMIT - COST <= spent_by(found) <= LIMIT + COST

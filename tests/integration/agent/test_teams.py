"""Teams: a leader gives its members work, they keep what they have done, and everybody hears what is told."""

import asyncio
from datetime import timedelta

import pytest

from natscope.client import Ticket
from natscope.contracts import event, hub, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.task import INTERRUPT, Interrupt
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import House, call, house, reply
from tests.integration.agent.test_waiting import decide, waiting


def lead(*agents: str, **more: object) -> AgentSpec:
    team = {"agents": agents, "purpose": "To build it."}
    return AgentSpec.model_validate({"name": "assistant", "system_prompt": "You lead.", "team": team} | more)


def mate(name: str, **more: object) -> AgentSpec:
    return AgentSpec.model_validate({"name": name, "description": f"Knows {name}.", "system_prompt": name} | more)


def assign(agent: str, message: str, id: str = "c1", **more: object) -> ToolUseBlock:
    body = {"agent": agent, "message": message} | more
    return ToolUseBlock.model_validate({"id": id, "name": "assign", "input": body})


def tell(message: str, id: str = "t1") -> ToolUseBlock:
    return ToolUseBlock.model_validate({"id": id, "name": "tell_team", "input": {"message": message}})


def results(asked: model.Chat) -> list[ToolResultBlock]:
    return [block for each in asked.messages for block in each.content if isinstance(block, ToolResultBlock)]


def given(asked: model.Chat) -> str:
    """Return what was heard since the agent has spoken last, each with its speaker."""
    said = [f"{each.name}: {each.text}" for each in asked.messages if each.role != "system" and each.text]
    return " | ".join(said)


def plays(here: House, *rounds: tuple[ToolUseBlock, ...]) -> None:
    """Have the leader call these, round by round, and say what came of all; members repeat what they have heard."""

    async def mind(asked: model.Chat) -> model.Chatted:
        if asked.agent != "assistant":
            return reply(f"<{given(asked)}>")
        done = sum(message.role == "tool" for message in asked.messages)
        if done < len(rounds):
            return call(*rounds[done])
        return reply(" || ".join(f"{result.state}: {text_of(result.output)}" for result in results(asked)))

    here.mind = mind


class TestAMember:
    async def test_keeps_what_it_was_told_and_hears_what_the_others_answer(self, nats_url: str) -> None:
        async with house(nats_url, lead("one", "two"), mate("one"), mate("two"), real_memory=True) as here:
            plays(here, (assign("one", "a"),), (assign("two", "b"),), (assign("one", "c"),))
            outcome = await here.run("Build it.")
        first, second, third = outcome.text.split(" || ")
        assert first == "success: <assistant: a>"
        assert second == "success: <one: <assistant: a> | assistant: b>"
        assert third.startswith("success: <assistant: a | one: <assistant: a> | two: <one: ")
        assert third.endswith(" | assistant: c>")

    async def test_is_told_in_which_team_it_is(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:
            plays(here, (assign("one", "a", member="smith"),))
            await here.run("Build it.")
        asked = next(asked for asked in here.asked if asked.agent == "one")
        prompt = "one\n\nYou are 'smith', a member of a team that 'assistant' leads. The team is for this: To build it."
        assert (asked.messages[0].text, asked.form) == (prompt, "multi_agent")
        assert [each.name for each in asked.tools] == ["tell_team"]

    async def test_of_the_same_agent_is_another_under_another_name(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:
            both = (assign("one", "a", "x", member="ann"), assign("one", "b", "y", member="bob"))
            plays(here, both, (assign("one", "c", member="ann"),))
            said, asked = here.mind, asyncio.Barrier(2)

            async def mind(body: model.Chat) -> model.Chatted:
                if body.agent != "assistant" and body.messages[-1].text in "ab":
                    await asked.wait()  # so that neither hears the other's answer before its own question
                return await said(body)

            here.mind = mind
            outcome = await here.run("Build it.")
        ann = outcome.text.split(" || ")[2]
        own, bobs = "assistant: a | one: <assistant: a>", "bob: <assistant: b>"
        either = {f"success: <{own} | {bobs} | assistant: c>", f"success: <{bobs} | {own} | assistant: c>"}
        assert ann in either, "both speak at the same time: either may be remembered first"

    async def test_does_what_it_is_assigned_in_turn_and_the_members_at_the_same_time(self, nats_url: str) -> None:
        async with house(nats_url, lead("one", "two"), mate("one"), mate("two"), real_memory=True) as here:
            order, both = list[str](), asyncio.Barrier(2)
            plays(here, (assign("one", "first", "x"), assign("one", "second", "y"), assign("two", "first", "z")))
            said = here.mind

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent != "assistant":
                    order.append(asked.messages[-1].text)
                    if asked.messages[-1].text == "first":
                        await both.wait()
                return await said(asked)

            here.mind = mind
            outcome = await here.run("Build it.")
        assert (outcome.state, order) == ("completed", ["first", "first", "second"])


class TestWhatIsToldToATeam:
    async def test_is_heard_by_a_member_at_work_before_its_next_step(self, nats_url: str) -> None:
        specs = lead("one", "two"), mate("one", tools=["add"]), mate("two")
        async with house(nats_url, *specs, real_memory=True) as here:
            told = asyncio.Event()
            add = ToolUseBlock(id="a", name="add", input={"a": 2, "b": 2})

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "assistant":
                    done = results(asked)
                    return reply(text_of(done[0].output)) if done else call(assign("one", "a", "x"), assign("two", "b"))
                if asked.agent == "two":
                    told.set() if results(asked) else None
                    return reply("done") if results(asked) else call(tell("The well is dry."))
                if not results(asked):
                    await told.wait()
                    return call(add)
                return reply(given(asked))

            here.mind = mind
            outcome = await here.run("Build it.")
            child = next(each.session for each in here.asked if each.agent == "one")
            again = await here.run("And?", agent="one", session=child)
        assert "two: The well is dry." in outcome.text
        assert again.state == "completed"
        recalled = here.asked[-1].messages
        assert [each.text for each in recalled].count("The well is dry.") == 1

    async def test_is_heard_by_its_leader_who_has_the_answers_as_results(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "one":
                    return reply("done") if results(asked) else call(tell("Beware."))
                return reply(given(asked)) if results(asked) else call(assign("one", "a"))

            here.mind = mind
            outcome = await here.run("Build it.", session="s")
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
            again = await here.run("And?", session="s")
        assert outcome.text == "user: Build it. | one: [one tells the team]\nBeware."
        assert [each.message.name for each in told if isinstance(each, event.Heard)] == ["one"]
        assert again.text.count("Beware.") == 2, "once as it was heard, once in the answer"

    async def test_is_in_a_hub_to_which_anybody_may_listen(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:
            listener = await here.bus.nc.subscribe(hub.SAID.at("team-s"))
            plays(here, (tell("Go on."),), (assign("one", "a"),))
            outcome = await here.run("Build it.", session="s")
            said = await here.bus.read(hub.SAID, await listener.next_msg(timeout=20))
        assert (said.message.name, said.message.text) == ("assistant", "Go on.")
        assert outcome.text.endswith("success: <assistant: Go on. | assistant: a>")

    async def test_must_be_something(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:
            plays(here, (tell("  "),))
            outcome = await here.run("Build it.")
        assert outcome.text.startswith("error: there is nothing to tell")


class TestALeader:
    async def test_whose_process_is_gone_assigns_and_tells_nothing_twice(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), agents=0, real_memory=True) as here:
            plays(here, (tell("Go on."), assign("one", "a", "x")), (assign("one", "b"),))
            said, gate, began = here.mind, asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "one":
                    began.set()
                    await gate.wait()
                return await said(asked)

            here.mind = mind
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                task = await here.submit("Build it.")
                await here.reaches(began, task.task_id)
            gate.set()
            async with app(Settings(beat=timedelta(seconds=0.2)), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert [asked.agent for asked in here.asked] == ["assistant", "one", "assistant", "one", "assistant"]
        assert outcome.text.endswith("success: <assistant: Go on. | assistant: a | one: <assistant: Go on. | "
                                     "assistant: a> | assistant: b>")  # fmt: skip

    async def test_may_assign_to_nobody_else_and_no_odd_names(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), mate("two"), real_memory=True) as here:
            plays(here, (assign("two", "a", "x"), assign("one", " ", "y"), assign("one", "a", "z", member="A b")))
            outcome = await here.run("Build it.")
        assert outcome.text == (
            "error: There is no agent 'two' to ask. There are: one. || "
            "error: `message` must say what the agent is asked to do. || "
            "error: `member` must be a name of lower case letters, digits, `-` and `_`, 63 at most."
        )

    async def test_may_lead_itself_down_to_a_depth(self, nats_url: str) -> None:
        async with house(nats_url, lead("assistant"), agents=0, real_memory=True) as here:
            here.mind = _leads_itself_down
            async with app(Settings(slots=1), bus=here.settings):
                outcome = await here.run("Count down.")
        assert outcome.text == "level 1 over level 2 over level 3 over level 4 over level 5 refused"

    async def test_gives_its_members_no_more_than_it_has_left(self, nats_url: str) -> None:
        specs = lead("one", limits={"tokens": 30}), mate("one", tools=["add"], limits={"tokens": 1000})
        async with house(nats_url, *specs, real_memory=True) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "assistant":
                    return reply("Over.") if results(asked) else call(assign("one", "Go."))
                if asked.tool_choice == "none":
                    return reply("All I could afford.")
                return call(ToolUseBlock(id="t", name="add", input={"a": 1, "b": 1}))

            here.mind = mind
            outcome = await here.run("Find out.")
        assert [asked.agent for asked in here.asked] == ["assistant", "one", "one", "assistant"]
        assert outcome.limit == "tokens"

    async def test_takes_its_members_with_it_when_it_is_interrupted(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:
            plays(here, (assign("one", "Go."),))
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

    async def test_ends_its_members_sessions_with_a_session_of_its_own(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:
            ended = await here.bus.nc.subscribe("session.ended.*")
            plays(here, (assign("one", "a"),))
            outcome = await here.run("Build it.")
            child = next(each.session for each in here.asked if each.agent == "one")
            subjects = {(await ended.next_msg(timeout=20)).subject for _ in range(2)}
        assert subjects == {f"session.ended.{outcome.task_id}", f"session.ended.{child}"}

    async def test_waits_for_leave_where_rules_say_so(self, nats_url: str) -> None:
        rules = {"rules": [{"tool": "assign", "behaviour": "ask"}]}
        async with house(nats_url, lead("one", permissions=rules), mate("one"), real_memory=True) as here:
            plays(here, (assign("one", "Go."),))
            task = await here.submit("Find out.")
            (wait,) = await waiting(here, task)
            arguments = {"agent": "one", "message": "Go, but gently."}
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve", arguments=dict(arguments)))
            outcome = await here.outcome(task.task_id)
        assert outcome.text == "success: <assistant: Go, but gently.>"

    @pytest.mark.parametrize("strategy", ["dialog"])
    async def test_that_only_talks_has_no_team(self, nats_url: str, strategy: str) -> None:
        async with house(nats_url, lead("one", strategy=strategy), mate("one"), real_memory=True) as here:
            plays(here)
            await here.run("Build it.")
        assert here.asked[0].tools == []


async def _leads_itself_down(asked: model.Chat) -> model.Chatted:
    told = next(each.text for each in asked.messages if each.role == "user")
    level = 1 if told == "Count down." else int(told)
    if not results(asked):
        return call(assign("assistant", str(level + 1)))
    (result,) = results(asked)
    below = "refused" if result.state == "error" else f"over {text_of(result.output)}"
    return reply(f"level {level} {below}")

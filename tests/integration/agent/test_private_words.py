"""Words in a team that are for one alone: that one hears them once, and nobody else does."""

import asyncio
from datetime import timedelta

from natscope.contracts import hub, model
from natscope.contracts.blocks import ToolUseBlock, text_of
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import Model, call, house, reply
from tests.integration.agent.test_teams import assign, given, lead, mate, plays, results

QUICK = Settings(beat=timedelta(seconds=0.2))


def tell(to: str, message: str = "Beware.", id: str = "t1") -> ToolUseBlock:
    return ToolUseBlock(id=id, name="tell_team", input={"message": message, "to": to})


class TestAPrivateWord:
    async def test_is_heard_by_whom_it_is_for_and_by_no_other(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), real_memory=True) as here:
            both = (assign("one", "a", "x", member="ann"), assign("one", "b", "y", member="bob"))
            plays(here, both, (tell("ann"),), both)
            outcome = await here.run("Build it.")
            ann, bob = outcome.text.split(" || ")[-2:]
        assert "assistant: [assistant to ann alone]\nBeware." in ann
        assert "Beware." not in bob.replace(ann.removeprefix("success: "), "")

    async def test_is_heard_at_once_by_a_member_at_work_and_once_in_all(self, nats_url: str) -> None:
        specs = lead("one", "two", "three"), mate("one", tools=["add"]), mate("two"), mate("three", tools=["add"])
        async with house(nats_url, *specs, real_memory=True) as here:
            told, heard = asyncio.Event(), asyncio.Event()
            add = ToolUseBlock(id="a", name="add", input={"a": 2, "b": 2})

            async def mind(asked: model.Chat) -> model.Chatted:
                done = results(asked)
                if asked.agent == "assistant":
                    calls = [assign(name, "a", name) for name in ("one", "two", "three")]
                    return reply(" || ".join(text_of(each.output) for each in done)) if done else call(*calls)
                if asked.agent == "two":
                    told.set() if done else None
                    return reply("done") if done else call(tell("one"))
                if not done:
                    await told.wait()
                    return call(add)
                if asked.agent == "three":
                    heard.set()
                await heard.wait()  # what one has heard, it says aloud: three is to be asked before that
                return reply(given(asked))

            here.mind = mind
            outcome = await here.run("Build it.")
            child = next(each.session for each in here.asked if each.agent == "one")
            await here.run("And?", agent="one", session=child)
        one, two, three = outcome.text.split(" || ")
        assert ("two: [two to one alone]\nBeware." in one, two, "Beware." in three) == (True, "done", False)
        recalled = [each.text for each in here.asked[-1].messages if each.name == "two"]
        assert recalled.count("[two to one alone]\nBeware.") == 1

    async def test_may_be_for_who_leads(self, nats_url: str) -> None:
        async with house(nats_url, lead("one", "two"), mate("one"), mate("two"), real_memory=True) as here:
            here.mind = _warns("assistant")
            outcome = await here.run("Build it.")
        assert outcome.text.startswith("user: Build it. | one: [one to assistant alone]\nBeware.")

    async def test_is_not_heard_by_who_leads_if_it_is_for_another(self, nats_url: str) -> None:
        async with house(nats_url, lead("one", "two"), mate("one"), mate("two"), real_memory=True) as here:
            here.mind = _warns("two")
            outcome = await here.run("Build it.")
        assert outcome.text == "user: Build it."

    async def test_for_nobody_there_is_says_who_there_is(self, nats_url: str) -> None:
        async with house(nats_url, lead("one", "two"), mate("one"), mate("two"), real_memory=True) as here:
            listener = await here.bus.nc.subscribe(hub.SAID.at("team-s"))
            plays(here, (assign("one", "a", member="ann"),), (tell("anne"),))
            outcome = await here.run("Build it.", session="s")
            said = await here.bus.read(hub.SAID, await listener.next_msg(timeout=20))
        assert outcome.text.endswith("error: in the team nobody is called 'anne' (there are: ann, one, two)")
        assert (said.message.name, listener.pending_msgs) == ("ann", 0), "nothing else was said"

    async def test_is_told_and_heard_once_although_the_process_is_gone(self, nats_url: str) -> None:
        async with house(nats_url, lead("one"), mate("one"), agents=0, real_memory=True) as here:
            plays(here, (assign("one", "a", "x"), tell("one")), (assign("one", "b"),))
            said, gate, began = here.mind, asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.agent == "one":
                    began.set()
                    await gate.wait()
                return await said(asked)

            here.mind = mind
            async with app(QUICK, bus=here.settings):
                task = await here.submit("Build it.")
                await began.wait()
            gate.set()
            async with app(QUICK, bus=here.settings):
                outcome = await here.outcome(task.task_id)
        again = here.asked[-2].messages
        assert outcome.state == "completed"
        assert [each.text for each in again].count("[assistant to one alone]\nBeware.") == 1


def _warns(whom: str) -> Model:
    """Return a model with which a member tells `whom` something, and its leader says what it has heard."""

    async def mind(asked: model.Chat) -> model.Chatted:
        done = results(asked)
        if asked.agent == "one":
            return reply("done") if done else call(tell(whom))
        return reply(given(asked)) if done else call(assign("one", "a"))

    return mind

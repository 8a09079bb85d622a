"""Replies of no use on the wire: the model is told and asked again, and the session keeps what was of use."""

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.blocks import ThinkingBlock, ToolUseBlock
from natscope.contracts.event import TaskEvent
from tests.integration.agent.house import House, call, house, reply
from tests.integration.agent.test_own_tools import ADDS, says

UNKNOWN = ToolUseBlock(id="c1", name="fly", input={"to": "the moon"}, raw_input='{"to": "the moon"}')


def thinks() -> model.Chatted:
    answer = reply("")
    content = [ThinkingBlock(thinking="Hm.")]
    return answer.model_copy(update={"message": answer.message.model_copy(update={"content": content})})


async def told(here: House, task_id: str) -> list[TaskEvent]:
    return [heard.event async for heard in Ticket(here.bus, task_id).events()]


class TestAReplyOfNoUse:
    async def test_is_told_to_the_model_and_replaced_by_the_next(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind = says(call(UNKNOWN), call(UNKNOWN), call(ADDS), reply("4"))
            task = await here.submit("Add.", session="s")
            outcome = await here.outcome(task.task_id)
            events = await told(here, task.task_id)
        assert (outcome.state, outcome.text) == ("completed", "4")
        assert [len(asked.messages) for asked in here.asked] == [2, 4, 4, 4]
        assert "The tools are: add" in str(here.asked[1].messages[-1].content)
        asked_again = [each for each in events if isinstance(each, event.Reasked)]
        assert [(each.fault, each.times) for each in asked_again] == [("unknown_tool", 1), ("unknown_tool", 2)]
        assert [message.role for message in here.sessions["s"]] == ["user", "assistant", "tool", "assistant"]

    async def test_that_says_nothing_is_asked_for_again(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind = says(thinks(), reply("Hello."))
            outcome = await here.run("Hello?")
        assert (outcome.state, outcome.text, outcome.model_calls) == ("completed", "Hello.", 2)

    async def test_that_says_nothing_to_the_last_ends_the_run_as_limited(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.mind = says(*(thinks() for _ in range(4)))
            outcome = await here.run("Hello?")
        assert (outcome.state, outcome.limit, outcome.model_calls) == ("limited", "empty", 4)


class TestACallThatFails:
    async def test_three_times_is_not_carried_out_again_and_the_model_is_told(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.ends = "error"
            here.mind = says(*(call(ADDS) for _ in range(4)), reply("I cannot."))
            outcome = await here.run("Add.")
        assert (outcome.state, outcome.text) == ("completed", "I cannot.")
        assert len(here.called) == 3
        assert "has failed 3 times" in here.asked[3].messages[-1].text
